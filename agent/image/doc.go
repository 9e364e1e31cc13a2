// Package image keeps a node's container images: it imports archives, pulls from registries, unpacks layers
// safely and mounts a container's root file system over them.
//
// # Files
//
// A Store owns one folder, held by a lock file so that two processes never share it:
//
//	lock                     held with flock for the life of the Store
//	images/<config>.json     one record per image, written atomically
//	imports.json             which archives were imported, by size and modification time
//	layers/<chain>/fs        an unpacked layer, in the form that overlayfs wants its lower folders
//	layers/<chain>/layer.json
//	tmp/                     work in progress; emptied by Open
//
// A layer is named by its chain ID (OCI image-spec, config.md), not by its diff ID: a folder that a layer
// mentions only as the parent of a file takes owner and mode from the layer below, so the same diff can
// unpack differently on another base. Images that share a base share its folders.
//
// # Invariants
//
//   - A folder under layers/ is whole: it was unpacked under tmp/, its digest verified, synced to the disk,
//     and only then renamed into place. A crash leaves nothing or a whole layer.
//   - A record is written after its layers, and deleted before them. Layers that no record names are swept.
//   - A name belongs to one image: the one that got it last.
//   - Nothing that an image says makes the unpacker write, link or read outside the layer's own folder. Device
//     nodes are refused (below dev/, which the runtime covers, they are left out); of extended attributes only
//     security.capability and user.* survive; setuid bits survive, which is why the store is closed (0700) to
//     other users of the node.
//   - Bytes and entries of an image are bounded before they reach the disk.
//
// # Concurrency
//
// All methods of Store may be called concurrently. Pulls of one reference with the same credentials share one
// transfer, which ends when the last caller gives up. The Store's goroutines are joined by Close. Mount and
// Unmount of one folder must not overlap, and Remove does not know which images are mounted: both are the
// caller's business.
package image
