// Package discovery tells clients which resources there are: /api, /apis and the documents below them.
//
// Two forms are served, as clients ask for them: the aggregated one, which has everything in one document per root
// (KEP-3352), and the older one with a document per group and version. Both are derived from the registry of kinds and
// built once; nothing here names a kind.
//
// Docs may be used by any goroutine.
package discovery
