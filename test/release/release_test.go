//go:build platforms

// Package release makes the files of a release as CONTRIBUTING.md says, in a copy of the
// repository.
package release

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var (
	digest = "sha256:" + strings.Repeat("a", 64)
	image  = "registry.example.com/opencx-operator@" + digest
	// root is that of the copy.
	root string
)

func TestRelease(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "Release")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	root = GinkgoT().TempDir()
	output, err := bash(ctx, `cd ../.. && git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- -c | tar -x -C "$1"`, root)
	Expect(err).NotTo(HaveOccurred(), output)
	changelog, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	Expect(err).NotTo(HaveOccurred())
	released := strings.Replace(string(changelog), "## [Unreleased]\n", "## [Unreleased]\n\n## [0.1.0] - 2026-12-01\n", 1)
	Expect(os.WriteFile(filepath.Join(root, "CHANGELOG.md"), []byte(released), 0o644)).To(Succeed())
	output, err = inCopy(ctx, command())
	Expect(err).NotTo(HaveOccurred(), output)
})

// command is what CONTRIBUTING.md gives to make the files with.
func command() string {
	GinkgoHelper()
	page, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	Expect(err).NotTo(HaveOccurred())
	found := regexp.MustCompile("(?s)<!-- run by: ./test/release -->\n```sh\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	Expect(found).To(HaveLen(1))
	Expect(found[0][1]).To(ContainSubstring("make release-files VERSION=v0.1.0 IMG=registry.example.com/"))
	return found[0][1]
}

// inCopy runs a script in the copy, with the kubectl of the control plane.
func inCopy(ctx context.Context, script string) (output string, err error) {
	return bash(ctx, `cd "$1" && export KUBECTL="$KUBEBUILDER_ASSETS/kubectl"; `+script, root)
}

func bash(ctx context.Context, script string, args ...string) (output string, err error) {
	printed, err := exec.CommandContext(ctx, "bash", append([]string{"-eo", "pipefail", "-c", script, "bash"}, args...)...).CombinedOutput()
	return string(printed), err
}

// run is inCopy of what must succeed.
func run(ctx context.Context, script string) string {
	GinkgoHelper()
	output, err := inCopy(ctx, script)
	Expect(err).NotTo(HaveOccurred(), output)
	return output
}

var _ = Describe("A release", func() {
	images := regexp.MustCompile(`(?m)^\s*(?:- )?image: "?([^"\s]+)"?$`)

	It("has install.yaml with the image by its digest", func() {
		manifest, err := os.ReadFile(filepath.Join(root, "dist", "install.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(images.FindAllStringSubmatch(string(manifest), -1)).To(HaveExactElements(ContainElement(image)))
		Expect(string(manifest)).To(ContainSubstring("\nkind: CustomResourceDefinition\n"))
	})

	It("has a chart of its version, with the image by its digest", func(ctx SpecContext) {
		const helm = `go tool -modfile=hack/helm/go.mod helm `
		Expect(run(ctx, helm+"show chart dist/opencx-operator-0.1.0.tgz")).To(And(
			MatchRegexp(`(?m)^version: 0\.1\.0$`), MatchRegexp(`(?m)^appVersion: v0\.1\.0$`)))
		rendered := run(ctx, helm+"template opencx dist/opencx-operator-0.1.0.tgz --namespace opencx-system")
		Expect(images.FindAllStringSubmatch(rendered, -1)).To(HaveExactElements(ContainElement(image)))
	})

	It("has the checksums of both", func(ctx SpecContext) {
		Expect(run(ctx, "cd dist && sha256sum --check checksums.txt")).To(Equal("install.yaml: OK\nopencx-operator-0.1.0.tgz: OK\n"))
	})

	It("has the notes of its version alone", func(ctx SpecContext) {
		Expect(run(ctx, "hack/release-notes.sh v0.1.0")).To(And(HavePrefix("\n### Added\n"), Not(ContainSubstring("## [")), Not(ContainSubstring("]: http"))))
	})

	DescribeTable("is refused", func(ctx SpecContext, version, image, want string) {
		output, err := inCopy(ctx, "make release-files VERSION="+version+" IMG="+image)
		Expect(err).To(HaveOccurred())
		Expect(output).To(ContainSubstring(want))
	},
		Entry("with a version that is none", "0.1.0", "registry.example.com/x@sha256:"+strings.Repeat("a", 64), `"0.1.0" is no version such as v0.1.0`),
		Entry("without notes", "v9.9.9", "registry.example.com/x@sha256:"+strings.Repeat("a", 64), "CHANGELOG.md says nothing of v9.9.9"),
		Entry("with an image by a tag", "v0.1.0", "registry.example.com/x:v0.1.0", `"registry.example.com/x:v0.1.0" does not name an image by its digest`),
	)
})
