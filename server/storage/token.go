package storage

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/holt-project/holt/fsm"
)

// continueToken says where the next page of a list begins. It has Kubernetes' form, and is checked when it comes back.
type continueToken struct {
	Version string `json:"v"`
	// Revision is that of all the list's pages; newest stands for whatever is newest when the page is taken.
	Revision int64 `json:"rv"`
	// Start is the lowest key that can be on the page: the namespace, a slash, and a name or what comes behind one.
	Start string `json:"start"`
}

const (
	tokenVersion = "meta.k8s.io/v1"
	// newest goes on with a list whose own revision is gone. The list is then not of one revision.
	newest = -1
)

// behind is the lowest key behind an object's.
func behind(k fsm.Key) fsm.Key {
	k.Name += "\x00"
	return k
}

func encodeToken(revision int64, start fsm.Key) string {
	// Strings and numbers: the encoding cannot fail. Names are UTF-8, because they are DNS names or path segments.
	data, _ := json.Marshal(continueToken{tokenVersion, revision, start.Namespace + "/" + start.Name})
	return base64.RawURLEncoding.EncodeToString(data)
}

// decodeToken returns the token's revision and where its page begins.
func decodeToken(token string) (revision int64, start fsm.Key, err error) {
	var t continueToken
	data, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	namespace, name, ok := strings.Cut(t.Start, "/")
	switch {
	case err != nil || !ok || name == "":
		return 0, start, errBadOptions("invalid continue token: continue key is not valid")
	case t.Version != tokenVersion:
		return 0, start, errBadOptions("invalid continue token: the version %q is not known", t.Version)
	case t.Revision == 0 || t.Revision < newest:
		return 0, start, errBadOptions("invalid continue token: it has no resource version")
	}
	return t.Revision, fsm.Key{Namespace: namespace, Name: name}, nil
}
