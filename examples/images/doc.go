// Command images builds the example images, with no download: it compiles examples/whoami and examples/toolbox to
// static programs and writes OCI archives of them into a folder.
//
//	whoami.tar    holt.local/whoami:1
//	whoami-2.tar  holt.local/whoami:2, the same with VERSION=2
//	toolbox.tar   holt.local/toolbox:1
//
// An archive that would not change is left alone, so that agents do not import it again.
package main
