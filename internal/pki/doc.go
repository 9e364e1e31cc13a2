// Package pki is the cluster's certificate authority, the certificates that it signs, and the join tokens that pin it.
//
// There is one authority for a cluster. Its key is an object in the replicated state, so that every server can sign.
// A certificate's subject is an identity in Kubernetes' form: the common name is the user, the organizations are the
// groups. Keys are ECDSA P-256; nothing is stored on disk but by Save, SaveKubeconfig
// and WriteFile, which replace a file as a whole.
//
// All values are immutable after they are made and may be used by any goroutine.
package pki
