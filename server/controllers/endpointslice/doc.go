// Package endpointslice keeps the EndpointSlices of every Service that has a selector.
//
// The plan for one Service finds its pods, groups them by the port numbers that the Service's ports come to in each
// pod (named target ports may differ), cuts the groups into slices of at most 100 endpoints, and creates, updates and
// deletes slices until they are as they should be. A Service without a pod has one empty slice. Slices that users or other controllers made are left alone.
//
// The package is pure: New returns a controller that holds no state.
package endpointslice
