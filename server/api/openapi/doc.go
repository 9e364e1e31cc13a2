// Package openapi describes the API to its clients: in OpenAPI version 2 under /openapi/v2, and in version 3 under
// /openapi/v3, one document per group and version.
//
// All of it is derived: schemas by reflection over the Go types that the registry of kinds names, descriptions from
// the same types' documentation, paths and parameters from kinds, subresources and the types of options. Nothing here
// names a kind, so a new kind is described as soon as it is registered.
//
// The documents are built at the first request, because many servers are never asked, and then kept. Docs may be used
// by any goroutine.
package openapi
