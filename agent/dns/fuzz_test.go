package dns

import (
	"log/slog"
	"net/netip"
	"testing"

	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FuzzAnswer feeds packets as a client may send them: whatever can be read gets an answer that can be sent, with
// the same number and question. Without resolvers nothing leaves the process.
func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"web.shop.svc.cluster.local.", "loop.shop.svc.cluster.local.", "20.0.43.10.in-addr.arpa.", "in-addr.arpa.", "."} {
		for _, qtype := range []uint16{mdns.TypeA, mdns.TypeSRV, mdns.TypeANY, mdns.TypeAXFR} {
			q := new(mdns.Msg).SetQuestion(name, qtype)
			q.SetEdns0(512, true)
			raw, err := q.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	s := New(Config{Domain: "cluster.local", Internal: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, slog.New(slog.DiscardHandler))
	s.Update([]*corev1.Service{
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "10.43.0.20"}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "loop"}, Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeExternalName, ExternalName: "loop.shop.svc.cluster.local",
		}},
	}, nil)
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := new(mdns.Msg)
		if q.Unpack(raw) != nil {
			return
		}
		reply := s.answer(t.Context(), q)
		if reply.Id != q.Id || !reply.Response {
			t.Errorf("the answer is not to the question: %v", reply)
		}
		if _, err := reply.Pack(); err != nil {
			t.Errorf("the answer cannot be sent: %v", err)
		}
	})
}
