package podspec

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// sourceNames lists which types of volume are set, by their names on the wire and in the order of the API. The fields
// of VolumeSource are all pointers, one per type, so a type that is new in the API needs no change here.
func sourceNames(source *corev1.VolumeSource) []string {
	var names []string
	v := reflect.ValueOf(source).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsNil() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	return names
}
