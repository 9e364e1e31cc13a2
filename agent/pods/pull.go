package pods

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/image"
)

// puller gets the images of one pod's containers, one at a time, while the pod's other containers are looked after.
type puller struct {
	images Images
	timing Timing
	auth   func(ctx context.Context, pod *corev1.Pod, ref string) image.Auth
	event  func(about, kind, reason, message string)
	nudge  func()
	group  *sync.WaitGroup // joins the pull at work

	current *pull // nil if none is at work
	states  map[string]*pullState
}

// pull is a transfer at work.
type pull struct {
	container string
	ref       string
	began     time.Time
	done      chan struct{} // closed when img and err are set
	img       image.Image
	err       error
}

// pullState is how a container's pulls have fared.
type pullState struct {
	backoff backoff
	until   time.Time // no pull before
	failure string
	fresh   *image.Image // pulled for the next attempt
}

func (p *puller) state(container string) *pullState {
	s := p.states[container]
	if s == nil {
		s = &pullState{backoff: backoff{first: p.timing.Pull, most: p.timing.PullMax}}
		p.states[container] = s
	}
	return s
}

// used tells that the container has begun with its image: the next attempt looks for one of its own.
func (p *puller) used(container string) { p.state(container).fresh = nil }

// need gives the image for a container's next attempt; or what the container waits for, and for how long.
func (p *puller) need(ctx context.Context, pod *corev1.Pod, c *corev1.Container) (*image.Image, *corev1.ContainerStateWaiting, time.Duration) {
	state := p.state(c.Name)
	p.collect(c, state)
	if state.fresh != nil {
		return state.fresh, nil, 0
	}
	if _, err := image.Normalize(c.Image); err != nil {
		message := fmt.Sprintf("Failed to apply default image tag %q: %s", c.Image, err)
		p.event(c.Name, corev1.EventTypeWarning, "InspectFailed", message)
		return nil, waitFor("InvalidImageName", message), forever
	}
	if policy := pullPolicy(c); policy != corev1.PullAlways {
		if img, ok := p.images.Lookup(c.Image); ok {
			p.event(c.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", c.Image))
			return &img, nil, 0
		}
		if policy == corev1.PullNever {
			message := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
			p.event(c.Name, corev1.EventTypeWarning, "ErrImageNeverPull", message)
			return nil, waitFor("ErrImageNeverPull", message), p.timing.Pull
		}
	}
	if wait := time.Until(state.until); wait > 0 {
		message := fmt.Sprintf("Back-off pulling image %q: %s", c.Image, state.failure)
		p.event(c.Name, corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", c.Image))
		return nil, waitFor("ImagePullBackOff", message), wait
	}
	if p.current == nil {
		p.begin(ctx, pod, c)
	}
	return nil, nil, forever
}

// collect takes over what a pull for the container has brought.
func (p *puller) collect(c *corev1.Container, state *pullState) {
	if p.current == nil || p.current.container != c.Name {
		return
	}
	select {
	case <-p.current.done:
	default:
		return
	}
	done := p.current
	p.current = nil
	p.nudge() // another container may wait for its turn
	switch {
	case done.ref != c.Image: // the pod wants another image by now
	case done.err == nil:
		state.fresh = &done.img
		state.backoff.reset()
		p.event(c.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %s. Image size: %d bytes.",
			c.Image, time.Since(done.began).Round(time.Millisecond), done.img.Size))
	case errors.Is(done.err, context.Canceled):
	default:
		state.until = time.Now().Add(state.backoff.pause())
		state.failure = fmt.Sprintf("ErrImagePull: %s", done.err)
		p.event(c.Name, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %s", c.Image, done.err))
	}
}

func (p *puller) begin(ctx context.Context, pod *corev1.Pod, c *corev1.Container) {
	p.event(c.Name, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
	now := &pull{container: c.Name, ref: c.Image, began: time.Now(), done: make(chan struct{})}
	p.current = now
	p.group.Go(func() {
		defer p.nudge()
		defer close(now.done)
		now.img, now.err = p.images.Pull(ctx, now.ref, p.auth(ctx, pod, now.ref))
	})
}

// pullPolicy is the container's, or what its tag implies.
func pullPolicy(c *corev1.Container) corev1.PullPolicy {
	if c.ImagePullPolicy != "" {
		return c.ImagePullPolicy
	}
	if full, err := image.Normalize(c.Image); err == nil && strings.HasSuffix(full, ":latest") {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func waitFor(reason, message string) *corev1.ContainerStateWaiting {
	return &corev1.ContainerStateWaiting{Reason: reason, Message: message}
}

// imageID names what a container runs, by its digest in a registry if it came from one.
func imageID(img image.Image) string {
	for _, name := range img.Names {
		if strings.Contains(name, "@") {
			return name
		}
	}
	return img.ID
}
