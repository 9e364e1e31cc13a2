package kinds

// Builtin returns the registry of all kinds that every server has.
func Builtin() *Registry {
	events, autoscalers := event(), horizontalPodAutoscaler()
	return NewRegistry(
		configMap(),
		controllerRevision(),
		cronJob(),
		daemonSet(),
		deployment(),
		endpoints(),
		endpointSlice(),
		events,
		eventsEvent(events),
		autoscalers,
		autoscalerV1(autoscalers),
		job(),
		lease(),
		limitRange(),
		namespace(),
		node(),
		persistentVolume(),
		persistentVolumeClaim(),
		pod(),
		podTemplate(),
		priorityClass(),
		replicaSet(),
		replicationController(),
		resourceQuota(),
		secret(),
		service(),
		serviceAccount(),
		statefulSet(),
	)
}
