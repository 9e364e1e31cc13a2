package pods

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The bounds of a container's last words, as in Kubernetes.
const maxMessage = 4096

// readMessage reads the last words that a container left in the file that was mounted for them.
func readMessage(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMessage))
	if err != nil {
		return ""
	}
	return string(text)
}
