package seal

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The vectors are those of the specification, c2sp.org/XAES-256-GCM.
func TestExtendedIsTheStandard(t *testing.T) {
	for _, v := range []struct {
		key             byte
		plain, aad, hex string
	}{
		{1, "XAES-256-GCM", "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
		{3, "XAES-256-GCM", "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
	} {
		x, err := newExtended(bytes.Repeat([]byte{v.key}, 32))
		if err != nil {
			t.Fatal(err)
		}
		aead, nonce, err := x.gcm([]byte("ABCDEFGHIJKLMNOPQRSTUVWX"))
		if err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(aead.Seal(nil, nonce, []byte(v.plain), []byte(v.aad))); got != v.hex {
			t.Errorf("key %d: %s, want %s", v.key, got, v.hex)
		}
	}
}
