package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// loadTimeout bounds one request of a load. Longer than any pause that a client should see, so that what is slow is
// told from what is lost.
const loadTimeout = 10 * time.Second

// maxInFlight bounds a load's requests that wait for their answer; beyond it the rate is not held.
const maxInFlight = 512

// keptFailures is how many failures a report tells in full.
const keptFailures = 10

// answer is what whoami prints.
var answer = regexp.MustCompile(`^pod=(\S+) addr=(\S+) client=(\S+) version=(\S*)\n$`)

// Answer is one answer of whoami.
type Answer struct{ Pod, Address, Client, Version string }

// httpClient makes a connection for each request, as a Service spreads connections.
var httpClient = &http.Client{Timeout: loadTimeout, Transport: &http.Transport{DisableKeepAlives: true}}

// Ask asks a whoami once, over a connection of its own.
func Ask(ctx context.Context, url string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return Answer{}, err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, fmt.Errorf("%s: %w", url, err)
	}
	m := answer.FindSubmatch(body)
	if resp.StatusCode != http.StatusOK || m == nil {
		return Answer{}, fmt.Errorf("%s: %s: %.200q", url, resp.Status, body)
	}
	return Answer{string(m[1]), string(m[2]), string(m[3]), string(m[4])}, nil
}

// AwaitAnswers asks until n different pods have answered, and returns how often each did.
func AwaitAnswers(ctx context.Context, url string, n int) (map[string]int, error) {
	pods := map[string]int{}
	err := Await(ctx, fmt.Sprintf("%d pods answer at %s", n, url), func(ctx context.Context) error {
		// Ten at once: then a single pause between two probes does not dominate.
		for range 10 {
			a, err := Ask(ctx, url)
			if err != nil {
				return err
			}
			pods[a.Pod]++
		}
		if len(pods) < n {
			return fmt.Errorf("only these do: %v", pods)
		}
		return nil
	})
	return pods, err
}

// Report is what a load has seen.
type Report struct {
	Sent, Failed int
	// Failures are the first of them, with the time since the start.
	Failures []string
	// Versions and Pods count the answers by version and by pod.
	Versions, Pods map[string]int
	// Slowest is the longest time to an answer.
	Slowest time.Duration
	// Rate is what was sent in a second, on average.
	Rate float64
}

func (r Report) String() string {
	s := fmt.Sprintf("%d requests, %.0f/s, %d failed, slowest %s, versions %v, %d pods",
		r.Sent, r.Rate, r.Failed, r.Slowest.Round(time.Millisecond), r.Versions, len(r.Pods))
	if r.Failed > 0 {
		s += "\n" + strings.Join(r.Failures, "\n")
	}
	return s
}

// Load sends requests at a steady rate, whether or not they are answered, each over a connection of its own.
type Load struct {
	urls    []string
	started time.Time
	stop    chan struct{}
	done    sync.WaitGroup

	mu     sync.Mutex // guards report
	report Report
}

// StartLoad begins to send rate requests a second, to the URLs in turn.
func StartLoad(rate int, urls ...string) *Load {
	l := &Load{
		urls: urls, started: time.Now(), stop: make(chan struct{}),
		report: Report{Versions: map[string]int{}, Pods: map[string]int{}},
	}
	l.done.Go(func() { l.run(rate) })
	return l
}

// run sends what is due by the clock, so that a late wake-up costs evenness and not rate.
func (l *Load) run(rate int) {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	free := make(chan struct{}, maxInFlight)
	for sent := 0; ; {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		for due := int(time.Since(l.started).Seconds() * float64(rate)); sent < due; sent++ {
			url := l.urls[sent%len(l.urls)]
			free <- struct{}{}
			l.done.Go(func() {
				defer func() { <-free }()
				l.send(url)
			})
		}
	}
}

func (l *Load) send(url string) {
	begun := time.Now()
	a, err := Ask(context.Background(), url)
	took := time.Since(begun)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Sent++
	l.report.Slowest = max(l.report.Slowest, took)
	if err == nil {
		l.report.Versions[a.Version]++
		l.report.Pods[a.Pod]++
		return
	}
	l.report.Failed++
	if len(l.report.Failures) < keptFailures {
		l.report.Failures = append(l.report.Failures, fmt.Sprintf("+%s after %s: %v",
			begun.Sub(l.started).Round(time.Millisecond), took.Round(time.Millisecond), err))
	}
}

// Stop ends the load, waits for the requests in flight and reports.
func (l *Load) Stop() Report {
	close(l.stop)
	elapsed := time.Since(l.started)
	l.done.Wait()
	l.report.Rate = float64(l.report.Sent) / elapsed.Seconds()
	return l.report
}
