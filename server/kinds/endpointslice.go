package kinds

import (
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
)

// ByService is the index of endpoint slices by their service, as "namespace/name".
const ByService = "service"

// The largest EndpointSlice that is accepted.
const (
	maxEndpoints, maxEndpointAddresses, maxEndpointPorts = 1000, 100, 20_000
)

func endpointSlice() *Kind {
	doc := discoveryv1.EndpointSlice{}.SwaggerDoc()
	return &Kind{
		GVK:      discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"),
		Resource: "endpointslices", Singular: "endpointslice",
		Namespaced: true,
		New:        func() fsm.Value { return &discoveryv1.EndpointSlice{} },
		NewList:    func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		Default: func(obj fsm.Value) {
			for i := range obj.(*discoveryv1.EndpointSlice).Ports {
				port := &obj.(*discoveryv1.EndpointSlice).Ports[i]
				setPointer(&port.Name, "")
				setPointer(&port.Protocol, corev1.ProtocolTCP)
			}
		},
		Prepare: specified[*discoveryv1.EndpointSlice]{
			spec:  func(s *discoveryv1.EndpointSlice) any { return []any{s.Endpoints, s.Ports} },
			start: func(*discoveryv1.EndpointSlice) {},
			keep:  func(_, _ *discoveryv1.EndpointSlice) {},
		}.prepare,
		Validate: validateEndpointSlice,
		ValidateUpdate: func(obj, old fsm.Value) field.ErrorList {
			return apivalidation.ValidateImmutableField(obj.(*discoveryv1.EndpointSlice).AddressType,
				old.(*discoveryv1.EndpointSlice).AddressType, field.NewPath("addressType"))
		},
		Indexes: map[string]fsm.IndexFunc{ByService: func(obj fsm.Value) []string {
			if name := obj.GetLabels()[discoveryv1.LabelServiceName]; name != "" {
				return []string{obj.GetNamespace() + "/" + name}
			}
			return nil
		}},
		Columns: []metav1.TableColumnDefinition{
			column("AddressType", "string", doc["addressType"]),
			column("Ports", "string", doc["ports"]),
			column("Endpoints", "string", doc["endpoints"]),
			ageColumn(),
		},
		Cells: func(obj fsm.Value, now time.Time) []any {
			s := obj.(*discoveryv1.EndpointSlice)
			return []any{string(s.AddressType), slicePorts(s.Ports), sliceAddresses(s.Endpoints), age(obj, now)}
		},
	}
}

func validateEndpointSlice(obj fsm.Value) field.ErrorList {
	s := obj.(*discoveryv1.EndpointSlice)
	var errs field.ErrorList
	if s.AddressType == "" {
		errs = append(errs, field.Required(field.NewPath("addressType"), ""))
	} else {
		errs = append(errs, oneOf(field.NewPath("addressType"), s.AddressType,
			discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)...)
	}
	path := field.NewPath("endpoints")
	if len(s.Endpoints) > maxEndpoints {
		return append(errs, field.TooMany(path, len(s.Endpoints), maxEndpoints))
	}
	for i := range s.Endpoints {
		errs = append(errs, validateEndpoint(&s.Endpoints[i], s.AddressType, path.Index(i))...)
	}
	return append(errs, validateEndpointPorts(s.Ports, field.NewPath("ports"))...)
}

func validateEndpoint(e *discoveryv1.Endpoint, kind discoveryv1.AddressType, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("addresses")
	switch {
	case len(e.Addresses) == 0:
		errs = append(errs, field.Required(at, "must contain at least 1 address"))
	case len(e.Addresses) > maxEndpointAddresses:
		errs = append(errs, field.TooMany(at, len(e.Addresses), maxEndpointAddresses))
	}
	for i, text := range e.Addresses {
		errs = append(errs, validateEndpointAddress(text, kind, at.Index(i))...)
	}
	if e.NodeName != nil {
		errs = append(errs, invalid(path.Child("nodeName"), *e.NodeName, apivalidation.NameIsDNSSubdomain(*e.NodeName, false))...)
	}
	if e.Hostname != nil {
		errs = append(errs, invalid(path.Child("hostname"), *e.Hostname, validation.IsDNS1123Label(*e.Hostname))...)
	}
	return errs
}

func validateEndpointAddress(text string, kind discoveryv1.AddressType, path *field.Path) field.ErrorList {
	if kind == discoveryv1.AddressTypeFQDN {
		return validation.IsFullyQualifiedDomainName(path, text)
	}
	errs := validateEndpointIP(text, path)
	if len(errs) > 0 {
		return errs
	}
	if family := familiesOf([]string{text})[0]; string(family) != string(kind) {
		return field.ErrorList{field.Invalid(path, text, "must be a valid "+string(kind)+" address")}
	}
	return nil
}

func validateEndpointPorts(ports []discoveryv1.EndpointPort, path *field.Path) field.ErrorList {
	if len(ports) > maxEndpointPorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxEndpointPorts)}
	}
	var errs field.ErrorList
	names := sets.New[string]()
	for i, port := range ports {
		at, name := path.Index(i), ""
		if port.Name != nil {
			name = *port.Name
		}
		if name != "" {
			errs = append(errs, invalid(at.Child("name"), name, validation.IsDNS1123Label(name))...)
		}
		if names.Has(name) {
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		}
		names.Insert(name)
		if port.Protocol == nil {
			errs = append(errs, field.Required(at.Child("protocol"), ""))
		} else {
			errs = append(errs, oneOf(at.Child("protocol"), *port.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
		if port.Port != nil {
			errs = append(errs, invalid(at.Child("port"), *port.Port, validation.IsValidPortNum(int(*port.Port)))...)
		}
		if port.AppProtocol != nil {
			errs = append(errs, invalid(at.Child("appProtocol"), *port.AppProtocol, validation.IsQualifiedName(*port.AppProtocol))...)
		}
	}
	return errs
}

// maxShown is how many ports or addresses a table's cell lists before it only counts them.
const maxShown = 3

func slicePorts(ports []discoveryv1.EndpointPort) string {
	if len(ports) == 0 {
		return "<unset>"
	}
	texts := make([]string, len(ports))
	for i, port := range ports {
		texts[i] = "*"
		if port.Port != nil {
			texts[i] = strconv.Itoa(int(*port.Port))
		}
	}
	return shorten(texts)
}

func sliceAddresses(endpoints []discoveryv1.Endpoint) string {
	var texts []string
	for _, e := range endpoints {
		texts = append(texts, e.Addresses...)
	}
	if len(texts) == 0 {
		return "<unset>"
	}
	return shorten(texts)
}

func shorten(texts []string) string {
	if len(texts) <= maxShown {
		return strings.Join(texts, ",")
	}
	return strings.Join(texts[:maxShown], ",") + " + " + strconv.Itoa(len(texts)-maxShown) + " more..."
}
