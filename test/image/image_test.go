//go:build image

package image

import (
	"archive/tar"
	"crypto/x509"
	"debug/buildinfo"
	"debug/elf"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const megabyte = 1_000_000

var _ = Describe("The image", func() {
	It("has the binary and the root certificates, and nothing else", func() {
		var files []string
		for name, header := range built.Files {
			if header.Typeflag == tar.TypeReg {
				files = append(files, name)
				Expect(header.Mode&0o022).To(BeZero(), "%s may be written by others than its owner", name)
			}
			Expect(header.Uid+header.Gid).To(BeZero(), "%s belongs to the user that the operator runs as, or to another", name)
		}
		Expect(files).To(ConsistOf("/manager", "/etc/ssl/certs/ca-certificates.crt"))
		certificates, err := os.ReadFile(filepath.Join(built.Root, "etc/ssl/certs/ca-certificates.crt"))
		Expect(err).NotTo(HaveOccurred())
		Expect(x509.NewCertPool().AppendCertsFromPEM(certificates)).To(BeTrue())
	})

	It("is small", func() {
		binary := built.Files["/manager"].Size
		GinkgoWriter.Printf("binary %.1f MB, download %.1f MB\n", float64(binary)/megabyte, float64(built.Download)/megabyte)
		Expect(binary).To(BeNumerically("<", 60*megabyte))
		Expect(built.Download).To(BeNumerically("<", 20*megabyte))
	})

	It("runs the binary as a user and group without rights", func() {
		Expect(built.Config.Config.User).To(Equal("65532:65532"))
		Expect(built.Config.Config.Entrypoint).To(Equal([]string{"/manager"}))
		Expect(built.Config.Config.Cmd).To(BeEmpty())
	})

	It("says what it is", func(ctx SpecContext) {
		const prefix = "org.opencontainers.image."
		labels := built.Config.Config.Labels
		for name, want := range map[string]string{
			"title": "OpenCXContact operator", "vendor": "OpenCX", "licenses": "Apache-2.0", "version": version,
			"url": "https://github.com/opencx-labs/opencx-operator", "source": "https://github.com/opencx-labs/opencx-operator",
			"revision": run(ctx, "git", "rev-parse", "HEAD"),
		} {
			Expect(labels).To(HaveKeyWithValue(prefix+name, want))
		}
		Expect(labels[prefix+"description"]).To(ContainSubstring("OpenCXContact"))
		Expect(labels[prefix+"created"]).To(MatchRegexp(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`))
		Expect(filepath.Join(root, "docs")).To(BeADirectory(), "which the label documentation names")
		Expect(labels[prefix+"documentation"]).To(HaveSuffix("/tree/main/docs"))
	})

	It("has a static binary without the paths of the machine that built it", func() {
		binary := filepath.Join(built.Root, "manager")
		info, err := buildinfo.ReadFile(binary)
		Expect(err).NotTo(HaveOccurred())
		settings := map[string]string{}
		for _, setting := range info.Settings {
			settings[setting.Key] = setting.Value
		}
		Expect(settings).To(And(HaveKeyWithValue("CGO_ENABLED", "0"), HaveKeyWithValue("-trimpath", "true"), HaveKeyWithValue("GOOS", "linux")))
		Expect(built.Config.Architecture).To(Equal(settings["GOARCH"]))
		program, err := elf.Open(binary)
		Expect(err).NotTo(HaveOccurred())
		defer func() { Expect(program.Close()).To(Succeed()) }()
		libraries, err := program.ImportedLibraries()
		Expect(err).NotTo(HaveOccurred())
		Expect(libraries).To(BeEmpty())
	})

	It("is the same when it is built again", func(ctx SpecContext) {
		Expect(build(ctx, "again").Digest).To(Equal(built.Digest))
	})

	It("has nothing in its context that it is not built of", func(ctx SpecContext) {
		ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(ignored)).To(Equal("*\n!go.mod\n!go.sum\n!*.go\n!api\n!internal\n**/*_test.go\n"))
	})
})

var _ = Describe("The programs", func() {
	DescribeTable("are built for", func(ctx SpecContext, architecture string, machine elf.Machine) {
		output := GinkgoT().TempDir()
		run(ctx, "env", "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+architecture, "go", "build", "-o", output+"/", ".", "./hack/demo", "./cmd/opencx-simulator")
		programs, err := filepath.Glob(output + "/*")
		Expect(err).NotTo(HaveOccurred())
		Expect(programs).To(HaveLen(3))
		for _, path := range programs {
			program, err := elf.Open(path)
			Expect(err).NotTo(HaveOccurred())
			Expect(program.Machine).To(Equal(machine))
			Expect(program.Close()).To(Succeed())
		}
	},
		Entry("amd64", "amd64", elf.EM_X86_64),
		Entry("arm64", "arm64", elf.EM_AARCH64),
	)
})
