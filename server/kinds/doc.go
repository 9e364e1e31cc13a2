// Package kinds holds the registration of every API kind, one file each.
//
// A Kind says once all that the rest of Holt needs to know: names and scope, defaults, validation, subresources,
// selectable fields, indexes, table columns. Discovery, OpenAPI, the wire, the store's schema and the tests iterate
// the registry; none of them has a switch on a kind. Adding a kind adds one file here and changes no other.
//
// A kind may be served in several versions while its objects are stored in one: each further version is a Kind of its
// own whose Version says how to convert. The API works on objects of the version in the URL from the body to the answer;
// only what goes into the store, and what comes out of it, is converted.
//
// A Registry is built once and then read-only; any goroutine may use it. Functions of a Kind are pure: they read
// no clock and keep no state, and only Default, Prepare and Restore change the object they are given.
package kinds
