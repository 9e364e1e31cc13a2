package image

import "errors"

var (
	// ErrNotFound means that the registry, or the store, has no such image.
	ErrNotFound = errors.New("image not found")
	// ErrUnauthorized means that the registry refused the credentials, or their absence. Some registries
	// answer so for images that do not exist.
	ErrUnauthorized = errors.New("not authorized to pull the image")
	// ErrInvalidName means that the reference cannot be parsed: Kubernetes' reason InvalidImageName.
	ErrInvalidName = errors.New("invalid image name")
	// ErrTooLarge means that the image exceeds Options.MaxUnpacked or Options.MaxEntries.
	ErrTooLarge = errors.New("image too large")
	// ErrUnsafe means that a layer holds an entry that must not be unpacked.
	ErrUnsafe = errors.New("unsafe layer")
	// ErrCorrupt means that content does not match its digest or its size, or cannot be parsed.
	ErrCorrupt = errors.New("corrupt image")
	// ErrPlatform means that the image has no variant for this node's operating system and processor.
	ErrPlatform = errors.New("image is not for this platform")
	// ErrClosed means that the Store was closed.
	ErrClosed = errors.New("image store is closed")
)
