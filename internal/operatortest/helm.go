package operatortest

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// BuildHelm builds the Helm that hack/helm pins, in Go's cache, and returns its path.
// root is the folder of the project.
func BuildHelm(ctx context.Context, root string) (path string, err error) {
	command := exec.CommandContext(ctx, "go", "tool", "-modfile=hack/helm/go.mod", "-n", "helm")
	command.Dir = root
	printed, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("building helm: %w", err)
	}
	return strings.TrimSpace(string(printed)), nil
}
