package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/server/keyring"
)

func TestPrintKeys(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := keyring.Report{
		Keys: keyring.Listing{{ID: "new", Created: now.Add(-time.Minute)}, {ID: "old", Created: now.AddDate(0, 0, -40)}},
		Servers: []keyring.Server{
			{Name: "s1", Use: keyring.Use{Primary: "new", Needed: []string{"new"}}},
			{Name: "s2", Use: keyring.Use{Primary: "new", Needed: []string{"new", "old"}}},
			{Name: "s3", Error: "connection refused"},
		},
	}
	var out bytes.Buffer
	if err := printKeys(&out, r, now); err != nil {
		t.Fatal(err)
	}
	want := `KEY   AGE             SEALS    NEEDED BY
new   60s (primary)   s1,s2    s1,s2
old   40d             <none>   s2
server s3 does not answer: connection refused
`
	if out.String() != want {
		t.Errorf("it prints\n%s\nwant\n%s", out.String(), want)
	}
}

func TestKeysMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"keys nonsense":                     "unknown command",
		"keys list x":                       "accepts 0 arg",
		"keys drop":                         "accepts 1 arg",
		"keys rotate --kubeconfig /no/such": "/no/such",
	} {
		if _, err := holt(strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("holt %s: %v, want %q", args, err, want)
		}
	}
}
