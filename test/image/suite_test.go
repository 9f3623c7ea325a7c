//go:build image

// Package image builds the Dockerfile for real, with buildah, and looks at what comes of
// it. The image that it builds with is a stand-in of this machine's Go, so that no
// registry is needed. It must be run as root.
package image

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	// version is what the image is stamped with.
	version = "v9.8.7"
	// epoch is SOURCE_DATE_EPOCH of the builds.
	epoch                  = "1700000000"
	goImage, operatorImage = "localhost/go-stand-in", "localhost/opencx-operator"
)

var (
	root = filepath.Join("..", "..")
	// folder has all that the suite makes.
	folder string
	built  *image
)

func TestImage(t *testing.T) {
	if _, err := exec.LookPath("buildah"); err != nil {
		t.Fatal("buildah is missing: install the Debian package of that name")
	}
	if os.Getuid() != 0 {
		t.Fatal("only root may build with --isolation=chroot and become another user: run make test-image as root")
	}
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(60 * time.Second)
	RunSpecs(t, "Image")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	var err error
	folder, err = os.MkdirTemp("", "opencx-image-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(os.RemoveAll(folder)).To(Succeed()) })
	makeGoImage(ctx)
	built = build(ctx, "first")
})

// run runs a program in the root of the repository and returns what it prints.
func run(ctx context.Context, name string, args ...string) string {
	GinkgoHelper()
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = root
	command.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch)
	output, err := command.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s %s\n%s", name, strings.Join(args, " "), output)
	return strings.TrimSpace(string(output))
}

// buildah is the program with a store of the suite's own.
func buildah() []string {
	return []string{"buildah", "--root=" + folder + "/store", "--runroot=" + folder + "/run", "--storage-driver=vfs"}
}

func runBuildah(ctx context.Context, args ...string) string {
	GinkgoHelper()
	return run(ctx, "buildah", append(buildah()[1:], args...)...)
}

// makeGoImage makes what stands in for the image that the Dockerfile names: a shell with
// its libraries, and root certificates. Go and its caches are mounted.
func makeGoImage(ctx context.Context) {
	GinkgoHelper()
	files := []string{"/bin/sh", "/etc/ssl/certs/ca-certificates.crt"}
	for word := range strings.FieldsSeq(run(ctx, "ldd", "/bin/sh")) {
		if filepath.IsAbs(word) {
			files = append(files, word)
		}
	}
	system := filepath.Join(folder, "system")
	for _, file := range files {
		text, err := os.ReadFile(file)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.MkdirAll(filepath.Dir(system+file), 0o755)).To(Succeed())
		Expect(os.WriteFile(system+file, text, 0o755)).To(Succeed())
	}
	Expect(os.Mkdir(system+"/tmp", 0o777)).To(Succeed())
	container := runBuildah(ctx, "from", "scratch")
	runBuildah(ctx, "copy", "--quiet", container, system, "/")
	runBuildah(ctx, "config", "--env=PATH=/usr/local/go/bin:/bin", "--env=HOME=/root", "--env=GOTOOLCHAIN=local",
		"--env=GOMODCACHE=/go/pkg/mod", "--env=GOCACHE=/go/cache", "--env=GOPROXY="+goEnv(ctx, "GOPROXY"), container)
	runBuildah(ctx, "commit", "--quiet", "--rm", container, goImage)
}

// build builds the image as make docker-build does, in a store that has no layer of it.
func build(ctx context.Context, name string) *image {
	GinkgoHelper()
	layout := filepath.Join(folder, name)
	run(ctx, "make", "docker-build", "DOCKER="+strings.Join(buildah(), " "), "VERSION="+version, "IMG="+operatorImage+":"+name,
		fmt.Sprintf("ARGS=--from=%s --isolation=chroot --network=host --pull=never --no-cache --timestamp=%s --volume=%s:/usr/local/go:ro --volume=%s:/go/pkg/mod --volume=%s:/go/cache",
			goImage, epoch, goEnv(ctx, "GOROOT"), goEnv(ctx, "GOMODCACHE"), goEnv(ctx, "GOCACHE")))
	runBuildah(ctx, "push", "--quiet", operatorImage+":"+name, "oci:"+layout)
	return readImage(layout)
}

func goEnv(ctx context.Context, name string) string {
	GinkgoHelper()
	return run(ctx, "go", "env", name)
}
