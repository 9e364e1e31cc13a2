package api

import (
	"bytes"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestEnvelope compares with the library's own encoding, at the lengths where the varint grows.
func TestEnvelope(t *testing.T) {
	gvk := schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DeploymentList"}
	for _, n := range []int{0, 1, 127, 128, 1<<14 - 1, 1 << 14, 1 << 21} {
		raw := bytes.Repeat([]byte{7}, n)
		u := runtime.Unknown{TypeMeta: runtime.TypeMeta{APIVersion: "apps/v1", Kind: "DeploymentList"}, Raw: raw}
		want, err := u.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got := join(enveloped(gvk, [][]byte{raw[:n/2], raw[n/2:]}))
		if !bytes.Equal(got, append([]byte(protobufMagic), want...)) {
			t.Errorf("%d bytes are enveloped otherwise than by runtime.Unknown", n)
		}
	}
}
