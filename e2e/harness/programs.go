package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Environment variables that name other programs than those that make put into bin/.
const (
	holtEnv    = "HOLT_BIN"
	kubectlEnv = "HOLT_KUBECTL"
)

// Programs are the files under test, as absolute paths.
type Programs struct {
	// Holt and Kubectl are executables: $HOLT_BIN and $HOLT_KUBECTL, or bin/holt and bin/kubectl.
	Holt, Kubectl string
	// Images is the folder of image archives that make images fills.
	Images string
	// Examples is the folder of the manifests that make run applies.
	Examples string
}

// FindPrograms looks below the repository that the working directory is in. It fails if one has not been built.
func FindPrograms() (Programs, error) {
	root, err := repository()
	if err != nil {
		return Programs{}, err
	}
	p := Programs{
		Holt:     filepath.Join(root, "bin", "holt"),
		Kubectl:  filepath.Join(root, "bin", "kubectl"),
		Images:   filepath.Join(root, "bin", "images"),
		Examples: filepath.Join(root, "examples"),
	}
	for env, file := range map[string]*string{holtEnv: &p.Holt, kubectlEnv: &p.Kubectl} {
		if other := os.Getenv(env); other != "" {
			if *file, err = filepath.Abs(other); err != nil {
				return p, err
			}
		}
	}
	for _, file := range []string{p.Holt, p.Kubectl, p.Images, p.Examples} {
		if _, err := os.Stat(file); err != nil {
			return p, fmt.Errorf("%w; build it with: make build images kubectl", err)
		}
	}
	return p, nil
}

// repository is the folder of go.mod, above the working directory.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("the working directory is not inside the repository")
		}
		dir = filepath.Dir(dir)
	}
}
