// Package ociarchive writes small container images as OCI-layout archives, in pure Go and without a download: the
// build makes the example images with it, and tests make theirs.
//
// The same Spec gives the same bytes, on every machine: owners are root, times are the epoch, and files are in the
// order of their names. Every Image has one layer per entry of Layers, gzipped. Functions keep no state and may be
// called concurrently.
package ociarchive
