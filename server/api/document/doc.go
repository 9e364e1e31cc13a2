// Package document serves documents that do not change as long as the server runs: what discovery and OpenAPI say.
//
// A Document is made once and then read-only; any goroutine may serve it. Each has an entity tag over its bytes, so a
// client that has it is answered 304 without a body. Compression is left to the server's common layer.
package document
