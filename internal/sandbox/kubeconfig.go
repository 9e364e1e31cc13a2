package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
)

// kubeconfig is the administrator's: the sandbox's own file, and the user's copy.
type kubeconfig struct {
	file    string
	copy    string // "" for none
	servers []netip.Addr
}

// cluster returns an error that wraps os.ErrNotExist until the first server has written its kubeconfig.
func (k kubeconfig) cluster() (Cluster, error) {
	data, err := os.ReadFile(k.file)
	if err != nil {
		return nil, err
	}
	return newCluster(data, k.servers)
}

// publish makes the copy. It never overwrites: the file can be the user's collection of clusters.
func (k kubeconfig) publish() error {
	if k.copy == "" {
		return nil
	}
	content, err := os.ReadFile(k.file)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(k.copy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// withdraw removes the second copy if it is still what Up wrote, or the beginning that a killed Up wrote.
func (k kubeconfig) withdraw() error {
	if k.copy == "" {
		return nil
	}
	own, err := os.ReadFile(k.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	theirs, err := os.ReadFile(k.copy)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(own, theirs) {
		return nil
	}
	return os.Remove(k.copy)
}
