package dns_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/agent/dns"
)

const hostFile = "# of the node\nnameserver 127.0.0.53\nnameserver 192.0.2.53 ; near\nsearch example.com\noptions edns0\n"

func TestPodResolv(t *testing.T) {
	cluster := "nameserver 10.43.0.10\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.com\noptions ndots:5\n"
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf("s%d.example", i))
	}
	for name, test := range map[string]struct {
		spec corev1.PodSpec
		host string
		want string
	}{
		"by default":    {corev1.PodSpec{}, hostFile, cluster},
		"cluster first": {corev1.PodSpec{DNSPolicy: corev1.DNSClusterFirst}, hostFile, cluster},
		"in the node's network": {corev1.PodSpec{HostNetwork: true}, hostFile,
			"nameserver 127.0.0.53\nnameserver 192.0.2.53\nsearch example.com\noptions edns0\n"},
		"in the node's network, cluster": {corev1.PodSpec{HostNetwork: true, DNSPolicy: corev1.DNSClusterFirstWithHostNet}, hostFile, cluster},
		"the node's":                     {corev1.PodSpec{DNSPolicy: corev1.DNSDefault}, hostFile, "nameserver 192.0.2.53\nsearch example.com\noptions edns0\n"},
		"the node's, on its loopback":    {corev1.PodSpec{DNSPolicy: corev1.DNSDefault}, "nameserver 127.0.0.53\n", "nameserver 10.43.0.10\n"},
		"none": {corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{
			Nameservers: []string{"1.2.3.4"}, Searches: []string{"a.example"},
			Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr("2")}, {Name: "use-vc"}},
		}}, hostFile, "nameserver 1.2.3.4\nsearch a.example\noptions ndots:2 use-vc\n"},
		"cluster and more": {corev1.PodSpec{DNSConfig: &corev1.PodDNSConfig{
			Nameservers: []string{"1.2.3.4", "10.43.0.10"}, Searches: []string{"cluster.local", "b.example"},
			Options: []corev1.PodDNSConfigOption{{Name: "ndots", Value: ptr("1")}},
		}}, "", "nameserver 10.43.0.10\nnameserver 1.2.3.4\nsearch shop.svc.cluster.local svc.cluster.local cluster.local b.example\noptions ndots:1\n"},
		"too many": {corev1.PodSpec{DNSPolicy: corev1.DNSNone, DNSConfig: &corev1.PodDNSConfig{
			Nameservers: []string{"1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"}, Searches: many,
		}}, "", "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nsearch " + strings.Join(many[:32], " ") + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}, Spec: test.spec}
			got, err := dns.PodResolv(pod, dns.PodConfig{
				Domain: "cluster.local", Servers: []netip.Addr{netip.MustParseAddr("10.43.0.10")}, Host: test.host,
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestPodResolvRefuses(t *testing.T) {
	for name, spec := range map[string]corev1.PodSpec{
		"none without servers": {DNSPolicy: corev1.DNSNone},
		"unknown policy":       {DNSPolicy: "Sometimes"},
		"no address":           {DNSConfig: &corev1.PodDNSConfig{Nameservers: []string{"dns.example"}}},
		"a line of its own":    {DNSConfig: &corev1.PodDNSConfig{Searches: []string{"a\nnameserver 6.6.6.6"}}},
		"an option's line": {DNSConfig: &corev1.PodDNSConfig{Options: []corev1.PodDNSConfigOption{
			{Name: "ndots", Value: ptr("1\nnameserver 6.6.6.6")},
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := dns.PodResolv(&corev1.Pod{Spec: spec}, dns.PodConfig{Domain: "cluster.local"}); err == nil {
				t.Errorf("got %q, want an error", got)
			}
		})
	}
}
