package kinds

// Builtin returns the registry of all kinds that every server has.
func Builtin() *Registry {
	return NewRegistry(
		configMap(),
		deployment(),
		endpointSlice(),
		event(),
		lease(),
		namespace(),
		node(),
		pod(),
		priorityClass(),
		replicaSet(),
		secret(),
		service(),
		serviceAccount(),
	)
}
