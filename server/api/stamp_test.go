package api_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// A stored object's protobuf is that of its decoded form, for every kind and whatever the length of its metadata: around
// 128 and 16384 bytes the length itself grows by a byte.
func TestProtobufIsThatOfTheObject(t *testing.T) {
	c := newCluster(t)
	for _, k := range kinds.Builtin().All() {
		namespace, path := "", "/apis/"+k.GVK.Group+"/"+k.GVK.Version+"/"
		if k.GVK.Group == "" {
			path = "/api/" + k.GVK.Version + "/"
		}
		if k.Namespaced {
			namespace = "stamped"
			path += "namespaces/stamped/"
		}
		for i, size := range []int{0, 1, 60, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 90, 100, 110, 120, 16200, 16300, 16384, 1 << 17} {
			obj := k.New()
			obj.SetName(fmt.Sprint("o", i))
			obj.SetNamespace(namespace)
			if size > 0 {
				obj.SetAnnotations(map[string]string{"a": strings.Repeat("x", size)})
				obj.SetGenerateName("o")
				obj.SetUID("u")
				obj.SetOwnerReferences([]metav1.OwnerReference{{Name: "owner"}})
			}
			raw, err := k.Encode(obj)
			if err != nil {
				t.Fatal(err)
			}
			c.put(k, namespace, obj.GetName(), raw)
			stored, ok := c.store.View().Get(k.Key(namespace, obj.GetName()))
			if !ok {
				t.Fatal(k.Key(namespace, obj.GetName()), "is not there")
			}
			want, err := stored.Value.(interface{ Marshal() ([]byte, error) }).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			u := runtime.Unknown{Raw: want}
			u.APIVersion, u.Kind = k.GVK.ToAPIVersionAndKind()
			whole, err := u.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got := c.must("GET", path+k.Resource+"/"+obj.GetName(), "", 200, "Accept", "application/vnd.kubernetes.protobuf")
			if !bytes.Equal(got.body, append([]byte("k8s\x00"), whole...)) {
				t.Fatalf("%s with %d bytes: got %x, want %x", k.GVK.Kind, size, got.body, whole)
			}
		}
	}
}

// What is not in the form that is expected is encoded the long way.
func TestProtobufOfUnusualBytes(t *testing.T) {
	k := kinds.Builtin().ByStore("configmaps")
	for name, raw := range map[string]string{
		"no metadata": "\x12\x06\x0a\x01k\x12\x01v", "no revision": "\x0a\x03\x0a\x01a", "a revision": "\x0a\x06\x0a\x01a\x32\x01\x37",
		"fields out of order": "\x0a\x09\x3a\x02xx\x0a\x01a\x32\x00", "empty": "",
		"metadata last": "\x12\x06\x0a\x01k\x12\x01v\x0a\x05\x0a\x01a\x32\x00",
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			if _, err := k.Decode([]byte(raw)); err != nil {
				t.Skip(err)
			}
			c.put(k, "default", "a", []byte(raw))
			o, ok := c.store.View().Get(fsm.Key{Resource: "configmaps", Namespace: "default", Name: "a"})
			if !ok {
				t.Fatal("not there")
			}
			var got metav1.PartialObjectMetadata
			unwrap(t, c.must("GET", configMaps+"/a", "", 200, "Accept", "application/vnd.kubernetes.protobuf").body, "ConfigMap", &got)
			if got.ResourceVersion != fmt.Sprint(o.Revision) {
				t.Errorf("revision %q of %d", got.ResourceVersion, o.Revision)
			}
		})
	}
}
