package api_test

import (
	"fmt"
	"testing"
)

// BenchmarkWrites measures whole requests over a log in memory.
func BenchmarkWrites(b *testing.B) {
	pod := `{"metadata":{"name":"%s","labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}],` +
		`"env":[{"name":"A","value":"1"}]}]}}`
	for _, tc := range []struct{ name, path, body, patch string }{
		{"configmap", configMaps, `{"metadata":{"name":"%s","labels":{"app":"x"}},"data":{"k":"1","l":"2"}}`, `{"data":{"k":"%d"}}`},
		{"pod", pods, pod, `{"metadata":{"labels":{"n":"l%d"}}}`},
	} {
		b.Run("create "+tc.name, func(b *testing.B) {
			c, n := newCluster(b), 0
			b.ReportAllocs()
			for b.Loop() {
				n++
				c.must("POST", tc.path, fmt.Sprintf(tc.body, fmt.Sprintf("x%d", n)), 201)
			}
		})
		b.Run("update "+tc.name, func(b *testing.B) {
			c, n := newCluster(b), 0
			c.must("POST", tc.path, fmt.Sprintf(tc.body, "x"), 201, "User-Agent", "creator")
			b.ReportAllocs()
			for b.Loop() {
				n++
				c.must("PATCH", tc.path+"/x", fmt.Sprintf(tc.patch, n), 200, "Content-Type", "application/merge-patch+json")
			}
		})
	}
}
