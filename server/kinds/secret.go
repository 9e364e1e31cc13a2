package kinds

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

func secret() *Kind {
	return &Kind{
		GVK:      corev1.SchemeGroupVersion.WithKind("Secret"),
		Resource: "secrets", Singular: "secret",
		Namespaced:     true,
		New:            func() fsm.Value { return &corev1.Secret{} },
		NewList:        func() runtime.Object { return &corev1.SecretList{} },
		Default:        defaultSecret,
		Validate:       validateSecret,
		ValidateUpdate: validateSecretUpdate,
		Fields: func(obj fsm.Value) fields.Set {
			return fields.Set{"type": string(obj.(*corev1.Secret).Type)}
		},
		Columns: []metav1.TableColumnDefinition{
			column("Type", "string", corev1.Secret{}.SwaggerDoc()["type"]),
			column("Data", "integer", corev1.Secret{}.SwaggerDoc()["data"]),
			ageColumn(),
		},
		Cells: func(obj fsm.Value, now time.Time) []any {
			s := obj.(*corev1.Secret)
			return []any{string(s.Type), int64(len(s.Data)), age(obj, now)}
		},
	}
}

// defaultSecret also folds the text that users may write in place of base64 into the data; it is never stored.
func defaultSecret(obj fsm.Value) {
	s := obj.(*corev1.Secret)
	setDefault(&s.Type, corev1.SecretTypeOpaque)
	if len(s.StringData) > 0 && s.Data == nil {
		s.Data = make(map[string][]byte, len(s.StringData))
	}
	for key, text := range s.StringData {
		s.Data[key] = []byte(text)
	}
	s.StringData = nil
}

// requiredKeys lists the keys that a type of Secret must have, for the types that demand all of them.
var requiredKeys = map[corev1.SecretType][]string{
	corev1.SecretTypeSSHAuth: {corev1.SSHAuthPrivateKey},
	corev1.SecretTypeTLS:     {corev1.TLSCertKey, corev1.TLSPrivateKeyKey},
}

func validateSecret(obj fsm.Value) field.ErrorList {
	s, data := obj.(*corev1.Secret), field.NewPath("data")
	var errs field.ErrorList
	total := 0
	for _, key := range slices.Sorted(maps.Keys(s.Data)) {
		total += len(s.Data[key])
		errs = append(errs, invalid(data.Key(key), key, validation.IsConfigMapKey(key))...)
	}
	if total > maxData {
		errs = append(errs, field.TooLong(data, "", maxData))
	}
	for _, key := range requiredKeys[s.Type] {
		if _, found := s.Data[key]; !found {
			errs = append(errs, field.Required(data.Key(key), ""))
		}
	}
	switch s.Type {
	case corev1.SecretTypeServiceAccountToken:
		if s.Annotations[corev1.ServiceAccountNameKey] == "" {
			errs = append(errs, field.Required(field.NewPath("metadata", "annotations").Key(corev1.ServiceAccountNameKey), ""))
		}
	case corev1.SecretTypeDockercfg:
		errs = append(errs, requireJSON(s.Data, corev1.DockerConfigKey, data)...)
	case corev1.SecretTypeDockerConfigJson:
		errs = append(errs, requireJSON(s.Data, corev1.DockerConfigJsonKey, data)...)
	case corev1.SecretTypeBasicAuth:
		_, user := s.Data[corev1.BasicAuthUsernameKey]
		if _, password := s.Data[corev1.BasicAuthPasswordKey]; !user && !password {
			errs = append(errs, field.Required(data.Key(corev1.BasicAuthUsernameKey), ""),
				field.Required(data.Key(corev1.BasicAuthPasswordKey), ""))
		}
	}
	return errs
}

// requireJSON never shows the value: it holds credentials.
func requireJSON(data map[string][]byte, key string, path *field.Path) field.ErrorList {
	value, found := data[key]
	if !found {
		return field.ErrorList{field.Required(path.Key(key), "")}
	}
	if !json.Valid(value) {
		return field.ErrorList{field.Invalid(path.Key(key), "<secret contents redacted>", "must be valid JSON")}
	}
	return nil
}

func validateSecretUpdate(obj, before fsm.Value) field.ErrorList {
	s, old := obj.(*corev1.Secret), before.(*corev1.Secret)
	errs := apivalidation.ValidateImmutableField(s.Type, old.Type, field.NewPath("type"))
	if !isTrue(old.Immutable) {
		return errs
	}
	if !isTrue(s.Immutable) {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), whenImmutable))
	}
	if !equality.Semantic.DeepEqual(s.Data, old.Data) {
		errs = append(errs, field.Forbidden(field.NewPath("data"), whenImmutable))
	}
	return errs
}
