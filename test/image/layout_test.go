//go:build image

package image

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

// descriptor names a blob of an OCI image layout.
type descriptor struct {
	Digest string
	Size   int64
}

// image is what an OCI image layout has.
type image struct {
	// Digest is that of the manifest, and so of all below it.
	Digest string
	Config config
	// Download is the size of the layers as a registry gives them.
	Download int64
	Files    map[string]*tar.Header
	// Root is a folder with the files of the layers.
	Root string
}

// config is what a container of the image starts with.
type config struct {
	Created, Architecture, OS string
	Config                    struct {
		User, WorkingDir string
		Entrypoint, Cmd  []string
		Env              []string
		Labels           map[string]string
	}
}

// readImage reads the only image of a layout.
func readImage(layout string) *image {
	GinkgoHelper()
	read := func(path string, into any) {
		text, err := os.ReadFile(filepath.Join(layout, path))
		Expect(err).NotTo(HaveOccurred())
		Expect(json.Unmarshal(text, into)).To(Succeed())
	}
	var index struct{ Manifests []descriptor }
	read("index.json", &index)
	Expect(index.Manifests).To(HaveLen(1))
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	read(blob(index.Manifests[0]), &manifest)
	i := &image{Digest: index.Manifests[0].Digest, Files: map[string]*tar.Header{}, Root: layout + "-root"}
	read(blob(manifest.Config), &i.Config)
	Expect(os.Mkdir(i.Root, 0o755)).To(Succeed())
	for _, layer := range manifest.Layers {
		i.Download += layer.Size
		i.unpack(filepath.Join(layout, blob(layer)))
	}
	return i
}

// blob is where a layout keeps one.
func blob(d descriptor) string {
	return filepath.Join("blobs", strings.Replace(d.Digest, ":", "/", 1))
}

// unpack adds the files of a layer.
func (i *image) unpack(path string) {
	GinkgoHelper()
	file, err := os.Open(path)
	Expect(err).NotTo(HaveOccurred())
	defer func() { Expect(file.Close()).To(Succeed()) }()
	unzipped, err := gzip.NewReader(file)
	Expect(err).NotTo(HaveOccurred())
	layer := tar.NewReader(unzipped)
	for {
		header, err := layer.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		Expect(err).NotTo(HaveOccurred())
		name := "/" + strings.Trim(header.Name, "/")
		i.Files[name] = header
		switch target := filepath.Join(i.Root, name); header.Typeflag {
		case tar.TypeDir:
			Expect(os.MkdirAll(target, 0o755)).To(Succeed())
		case tar.TypeReg:
			content, err := io.ReadAll(layer)
			Expect(err).NotTo(HaveOccurred())
			Expect(os.WriteFile(target, content, header.FileInfo().Mode())).To(Succeed())
		default:
			Fail("the image has " + name + ", which is neither a file nor a folder")
		}
	}
}
