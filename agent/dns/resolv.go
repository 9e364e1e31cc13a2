package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

const (
	// What resolvers of C libraries take, and Kubernetes allows.
	mostServers, mostSearches, mostSearchChars = 3, 32, 2048
)

// PodConfig is what a pod's resolv.conf is made from.
type PodConfig struct {
	Domain  string       // the cluster's domain
	Servers []netip.Addr // the cluster's DNS
	Host    string       // the text of the node's own resolv.conf
}

// resolv is the meaning of a resolv.conf.
type resolv struct {
	servers  []netip.Addr
	searches []string
	options  []string
}

// PodResolv is the resolv.conf of a pod by its dnsPolicy and dnsConfig. What is more than resolvers take is
// cut off at the end. An error says what about the pod is wrong.
func PodResolv(pod *corev1.Pod, cfg PodConfig) (string, error) {
	host := parseResolv(cfg.Host)
	var r resolv
	switch policy := effectivePolicy(pod); policy {
	case corev1.DNSClusterFirst:
		r = resolv{servers: slices.Clone(cfg.Servers), options: []string{"ndots:5"}}
		r.searches = append([]string{pod.Namespace + ".svc." + cfg.Domain, "svc." + cfg.Domain, cfg.Domain}, host.searches...)
	case corev1.DNSDefault:
		r = host
		if !pod.Spec.HostNetwork {
			r.servers = reachable(host.servers, cfg.Servers)
		}
	case corev1.DNSNone:
		if pod.Spec.DNSConfig == nil || len(pod.Spec.DNSConfig.Nameservers) == 0 {
			return "", errors.New("dns: dnsPolicy None needs at least one nameserver in dnsConfig")
		}
	default:
		return "", fmt.Errorf("dns: unknown dnsPolicy %q", policy)
	}
	if err := r.merge(pod.Spec.DNSConfig); err != nil {
		return "", err
	}
	return r.String(), nil
}

// effectivePolicy maps the policies to three: a pod in the node's network has the node's names unless it asks
// for the cluster's.
func effectivePolicy(pod *corev1.Pod) corev1.DNSPolicy {
	switch p := pod.Spec.DNSPolicy; {
	case p == corev1.DNSClusterFirstWithHostNet:
		return corev1.DNSClusterFirst
	case p == "" || p == corev1.DNSClusterFirst:
		if pod.Spec.HostNetwork {
			return corev1.DNSDefault
		}
		return corev1.DNSClusterFirst
	default:
		return p
	}
}

// reachable are the node's resolvers that a pod can reach. A resolver on the node's loopback is not, but the
// cluster's DNS asks it.
func reachable(host, cluster []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range host {
		if !a.IsLoopback() {
			out = append(out, a)
		}
	}
	if len(out) == 0 {
		return slices.Clone(cluster)
	}
	return out
}

func (r *resolv) merge(c *corev1.PodDNSConfig) error {
	if c == nil {
		return nil
	}
	for _, text := range c.Nameservers {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("dns: nameserver %q in dnsConfig is no IP address", text)
		}
		r.servers = append(r.servers, a)
	}
	for _, s := range c.Searches {
		if !oneWord(s) {
			return fmt.Errorf("dns: search %q in dnsConfig is no domain", s)
		}
		r.searches = append(r.searches, s)
	}
	for _, o := range c.Options {
		option := o.Name
		if o.Value != nil && *o.Value != "" {
			option += ":" + *o.Value
		}
		if !oneWord(option) {
			return fmt.Errorf("dns: option %q in dnsConfig is not one word", option)
		}
		r.options = slices.DeleteFunc(slices.Clone(r.options), func(have string) bool {
			name, _, _ := strings.Cut(have, ":")
			return name == o.Name
		})
		r.options = append(r.options, option)
	}
	return nil
}

// oneWord keeps a pod from writing lines of its own into the file.
func oneWord(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n#;") }

func (r *resolv) String() string {
	servers := unique(r.servers)
	searches := unique(r.searches)
	servers = servers[:min(len(servers), mostServers)]
	searches = searches[:min(len(searches), mostSearches)]
	for len(strings.Join(searches, " ")) > mostSearchChars {
		searches = searches[:len(searches)-1]
	}
	var b strings.Builder
	for _, a := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", a)
	}
	if len(searches) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(searches, " "))
	}
	if len(r.options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(r.options, " "))
	}
	return b.String()
}

func unique[T comparable](in []T) []T {
	var out []T
	for _, v := range in {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// parseResolv reads a resolv.conf as C libraries do: unknown lines are passed over, and the last list of
// searches counts.
func parseResolv(text string) resolv {
	var r resolv
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(words[1]); err == nil {
				r.servers = append(r.servers, a)
			}
		case "search", "domain":
			r.searches = slices.DeleteFunc(slices.Clone(words[1:]), func(s string) bool { return s == "." })
		case "options":
			r.options = append(r.options, words[1:]...)
		}
	}
	return r
}
