package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"

	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/internal/folder"
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

// adopt writes the sandbox's own file from the one that the first server wrote, and adds a context for each server,
// named like its host: kubectl goes on when the first one is killed.
func (k kubeconfig) adopt(written []byte, hosts []hostRecord) error {
	var config clientcmdv1.Config
	if err := yaml.Unmarshal(written, &config); err != nil {
		return fmt.Errorf("the admin kubeconfig: %w", err)
	}
	for _, h := range hosts {
		if h.Role != RoleServer {
			continue
		}
		cluster := config.Clusters[0]
		cluster.Name, cluster.Cluster.Server = h.Name, serverURL(h.Address)
		config.Clusters = append(config.Clusters, cluster)
		config.Contexts = append(config.Contexts, clientcmdv1.NamedContext{Name: h.Name,
			Context: clientcmdv1.Context{Cluster: h.Name, AuthInfo: config.AuthInfos[0].Name}})
	}
	content, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	return folder.WriteFile(k.file, content)
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
