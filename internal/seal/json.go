package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// ringJSON is a ring as it is kept.
type ringJSON struct {
	Keys []keyJSON `json:"keys"`
}

type keyJSON struct {
	ID      string    `json:"id"`
	Secret  []byte    `json:"secret"`
	Created time.Time `json:"created"`
}

// MarshalJSON implements json.Marshaler. The result holds the secrets.
func (r Ring) MarshalJSON() ([]byte, error) {
	out := ringJSON{Keys: []keyJSON{}}
	for _, k := range r.Keys() {
		out.Keys = append(out.Keys, keyJSON{k.ID, k.Secret[:], k.Created})
	}
	return json.Marshal(out)
}

// UnmarshalJSON implements json.Unmarshaler. It fails with ErrInvalid, and leaves r as it was then, unless it reads what
// MarshalJSON wrote of a ring with keys: an ID that does not fit its secret is a damaged secret.
func (r *Ring) UnmarshalJSON(data []byte) error {
	var in ringJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows it", ErrInvalid)
	}
	keys, err := in.keys()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	read, err := ringOf(keys)
	if err == nil {
		*r = read
	}
	return err
}

func (in ringJSON) keys() ([]Key, error) {
	if len(in.Keys) == 0 {
		return nil, errors.New("it has no key")
	}
	seen := map[string]bool{}
	var keys []Key
	for i, k := range in.Keys {
		if len(k.Secret) != secretSize {
			return nil, fmt.Errorf("the secret of key %d has %d bytes, not %d", i+1, len(k.Secret), secretSize)
		}
		key, err := newKey([secretSize]byte(k.Secret), k.Created)
		switch {
		case err != nil:
			return nil, err
		case key.ID != k.ID:
			return nil, fmt.Errorf("the secret of key %q is that of another key: it is damaged", k.ID)
		case k.Created.IsZero():
			return nil, fmt.Errorf("key %s does not say when it was made", k.ID)
		case seen[k.ID]:
			return nil, fmt.Errorf("key %s is there twice", k.ID)
		}
		seen[k.ID] = true
		keys = append(keys, key)
	}
	return keys, nil
}
