// Command argocd writes config/argocd/argocd-cm.yaml: the Lua files beside it, as Argo
// CD's ConfigMap takes them.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	group = "contacts.open.cx"
	head  = `# Made by make manifests of the files in contacts.open.cx. Add it to Argo CD's own:
#   kubectl -n argocd patch configmap argocd-cm --patch-file config/argocd/argocd-cm.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
data:
`
)

func main() {
	folder := filepath.Join("config", "argocd")
	text, err := configMap(filepath.Join(folder, group))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "argocd-cm.yaml"), []byte(text), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// configMap makes the ConfigMap of a folder that is laid out as Argo CD's
// resource_customizations are: a folder for each kind.
func configMap(folder string) (string, error) {
	text := head
	kinds, err := os.ReadDir(folder)
	if err != nil {
		return "", err
	}
	for _, kind := range kinds {
		health, err := block(4, folder, kind.Name(), "health.lua")
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("  resource.customizations.health.%s_%s: |\n%s", group, kind.Name(), health)
		actions, err := filepath.Glob(filepath.Join(folder, kind.Name(), "actions", "*", "action.lua"))
		if err != nil {
			return "", err
		}
		if len(actions) == 0 {
			continue
		}
		discovery, err := block(6, folder, kind.Name(), "actions", "discovery.lua")
		if err != nil {
			return "", err
		}
		text += fmt.Sprintf("  resource.customizations.actions.%s_%s: |\n    discovery.lua: |\n%s    definitions:\n", group, kind.Name(), discovery)
		for _, action := range actions {
			script, err := block(8, action)
			if err != nil {
				return "", err
			}
			text += fmt.Sprintf("    - name: %s\n      action.lua: |\n%s", filepath.Base(filepath.Dir(action)), script)
		}
	}
	return text, nil
}

// block is a file's text as a block of YAML.
func block(indent int, path ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		return "", err
	}
	var lines strings.Builder
	for line := range strings.Lines(string(text)) {
		if line != "\n" {
			lines.WriteString(strings.Repeat(" ", indent))
		}
		lines.WriteString(line)
	}
	return lines.String(), nil
}
