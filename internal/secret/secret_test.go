package secret_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"riposte/internal/secret"
)

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s")
	if err := os.WriteFile(file, []byte(" from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RIPOSTE_TEST_SECRET", "from the environment")
	for ref, want := range map[secret.Ref]string{secret.Ref("file:" + file): "from a file", "env:RIPOSTE_TEST_SECRET": "from the environment"} {
		if got, err := ref.Read(); got != want || err != nil {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
	}
	for ref, want := range map[secret.Ref]string{
		"env:RIPOSTE_NO_SUCH": "missing or empty", "file:/no/such": "no such file", "hunter2": "not the secret itself", "": "not the secret itself", "env:": "not the secret itself",
	} {
		got, err := ref.Read()
		if got != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", ref, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the secret: %v", err)
		}
	}
}
