package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/holt-project/holt/internal/ociarchive"
)

const module = "github.com/holt-project/holt"

// Accounts let tests and users name a user; an image without them knows numbers only.
const (
	passwd = "root:x:0:0:root:/:\nnobody:x:65534:65534:nobody:/:\nnonroot:x:65532:65532:nonroot:/:\n"
	group  = "root:x:0:\nnobody:x:65534:\nnonroot:x:65532:\n"
)

func main() {
	out := flag.String("o", "bin/images", "folder for the archives")
	flag.Parse()
	if err := build(*out); err != nil {
		fmt.Fprintln(os.Stderr, "images:", err)
		os.Exit(1)
	}
}

// build writes all archives into the folder out.
func build(out string) (err error) {
	tmp, err := os.MkdirTemp("", "holt-images-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, program := range []string{"whoami", "toolbox"} {
		if err := compile(program, filepath.Join(tmp, program)); err != nil {
			return err
		}
	}
	for file, spec := range map[string]ociarchive.Spec{
		"whoami.tar":   whoami(tmp, "1"),
		"whoami-2.tar": whoami(tmp, "2"),
		"toolbox.tar":  toolbox(tmp),
	} {
		if err := write(filepath.Join(out, file), spec); err != nil {
			return err
		}
	}
	return nil
}

func compile(program, to string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", to, module+"/examples/"+program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build %s: %w", program, err)
	}
	return nil
}

func whoami(bin, version string) ociarchive.Spec {
	return ociarchive.Spec{
		Name:   "holt.local/whoami:" + version,
		Layers: layers(bin, "whoami"),
		Config: ociv1.ImageConfig{
			Entrypoint:   []string{"/bin/whoami"},
			Env:          []string{"PATH=/bin", "VERSION=" + version},
			User:         "65532:65532",
			ExposedPorts: map[string]struct{}{"8080/tcp": {}},
			Labels:       map[string]string{"org.opencontainers.image.title": "whoami"},
		},
	}
}

func toolbox(bin string) ociarchive.Spec {
	return ociarchive.Spec{
		Name:   "holt.local/toolbox:1",
		Layers: layers(bin, "toolbox"),
		Config: ociv1.ImageConfig{
			Entrypoint: []string{"/bin/toolbox"},
			Cmd:        []string{"sleep"},
			Env:        []string{"PATH=/bin"},
			Labels:     map[string]string{"org.opencontainers.image.title": "toolbox"},
		},
	}
}

// layers puts the accounts, which all images share, below the program.
func layers(bin, program string) []ociarchive.Layer {
	return []ociarchive.Layer{
		{"/etc/passwd": {Data: []byte(passwd)}, "/etc/group": {Data: []byte(group)}},
		{"/bin/" + program: {Source: filepath.Join(bin, program), Mode: 0o755}},
	}
}

// write replaces an archive at once, and only if it changes.
func write(file string, spec ociarchive.Spec) error {
	var b bytes.Buffer
	if err := ociarchive.Write(&b, spec); err != nil {
		return err
	}
	if old, err := os.ReadFile(file); err == nil && bytes.Equal(old, b.Bytes()) {
		return nil
	}
	// The name begins with a dot: a folder that is being imported passes over it.
	tmp := filepath.Join(filepath.Dir(file), "."+filepath.Base(file))
	if err := os.WriteFile(tmp, b.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
