package v1alpha1_test

import (
	"math/rand/v2"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// emailPattern is the pattern of contact.email on OpenCX's "Update a contact"
// page. It is an ECMAScript pattern with look-aheads, which the API server's
// regular expressions lack, so the CRD says the same in three rules.
const emailPattern = `^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$`

// maxEmail is the CRD's limit, in characters. OpenCX's pattern has none.
const maxEmail = 320

var opencxPattern = regexp2.MustCompile(emailPattern, regexp2.ECMAScript)

// opencxAccepts is the verdict of OpenCX's own pattern.
func opencxAccepts(email string) bool {
	GinkgoHelper()
	accepted, err := opencxPattern.MatchString(email)
	Expect(err).NotTo(HaveOccurred())
	return accepted
}

// apiServerAccepts is the verdict of the API server.
func apiServerAccepts(ctx SpecContext, email string) bool {
	GinkgoHelper()
	_, err := create(ctx, `{"contactID":"c","email":`+quote(email)+`}`, client.DryRunAll)
	if err != nil {
		Expect(apierrors.IsInvalid(err)).To(BeTrue(), err.Error())
	}
	return err == nil
}

var _ = Describe("email", func() {
	DescribeTable("is accepted exactly when OpenCX's own pattern accepts it",
		func(ctx SpecContext, email string, accepted bool) {
			Expect(opencxAccepts(email)).To(Equal(accepted), "OpenCX's pattern")
			Expect(apiServerAccepts(ctx, email)).To(Equal(accepted), "the API server")
		},
		Entry("a plain address", "jane.doe@example.com", true),
		Entry("one letter", "j@example.co", true),
		Entry("a plus", "jane+tag@example.com", true),
		Entry("only a plus", "+@example.com", true),
		Entry("only a hyphen", "-@example.com", true),
		Entry("an apostrophe inside", "o'brien@example.com", true),
		Entry("an apostrophe first", "'a@example.com", true),
		Entry("an apostrophe last", "a'@example.com", false),
		Entry("a dot first", ".a@example.com", false),
		Entry("a dot last", "a.@example.com", false),
		Entry("two dots before the @", "a..b@example.com", false),
		Entry("two dots after the @", "a@example..com", false),
		Entry("a dot after the @", "a@.example.com", false),
		Entry("no dot after the @", "a@localhost", false),
		Entry("one letter at the end", "a@example.c", false),
		Entry("a digit at the end", "a@example.c0m", false),
		Entry("a dot at the end", "a@example.com.", false),
		Entry("a hyphen before a dot", "a@example-.com", true),
		Entry("a hyphen after a dot", "a@-example.com", false),
		Entry("digits in the domain", "a@1.2.co", true),
		Entry("an underscore in the domain", "a@ex_ample.com", false),
		Entry("an IP address", "a@127.0.0.1", false),
		Entry("two @", "a@b@example.com", false),
		Entry("no @", "example.com", false),
		Entry("nothing before the @", "@example.com", false),
		Entry("nothing", "", false),
		Entry("a space first", " a@example.com", false),
		Entry("a space last", "a@example.com ", false),
		Entry("a newline last", "a@example.com\n", false),
		Entry("a newline first", "\na@example.com", false),
		Entry("a newline inside", "a\nb@example.com", false),
		Entry("two dots behind a newline", "a\n..@example.com", false),
		Entry("two addresses in two lines", "a@example.com\nb@example.com", false),
		Entry("a line separator", "a\u2028@example.com", false),
		Entry("a NUL", "a\x00@example.com", false),
		Entry("letters beyond ASCII", "zoë@example.com", false),
		Entry("a domain beyond ASCII", "a@exämple.com", false),
		Entry("a letter that folds to ASCII", "\u212A@example.com", false), // the Kelvin sign
		Entry("a digit beyond ASCII", "٣@example.com", false),
		Entry("a wide @", "a＠example.com", false),
		Entry("an emoji", "😀@example.com", false),
		Entry("a quoted local part", `"a b"@example.com`, false),
		Entry("320 characters", strings.Repeat("a", maxEmail-len("@example.com"))+"@example.com", true),
		Entry("many labels", "a@"+strings.Repeat("b.", 150)+"com", true),
		Entry("many hyphens", "a@"+strings.Repeat("b-", 150)+".com", true),
		Entry("a long end", "a@b."+strings.Repeat("c", 300), true),
	)

	It("is refused beyond 320 characters", func(ctx SpecContext) {
		long := strings.Repeat("a", maxEmail+1-len("@example.com")) + "@example.com"
		Expect(opencxAccepts(long)).To(BeTrue())
		Expect(apiServerAccepts(ctx, long)).To(BeFalse())
	})

	It("agrees with OpenCX's pattern on thousands of generated strings", func(ctx SpecContext) {
		const each, workers = 500, 4
		random := rand.New(rand.NewPCG(2026, 1))
		var emails []string
		for range each {
			emails = append(emails, randomText(random), randomAddress(random), mutated(random, randomAddress(random)), mutated(random, mutated(random, randomAddress(random))),
				mutated(random, longAddress(random)), longAddress(random))
		}
		accepted := map[bool]int{}
		for _, email := range emails {
			Expect(utf8.RuneCountInString(email)).To(BeNumerically("<=", maxEmail))
			accepted[opencxAccepts(email)]++
		}
		// Strings that are nearly all accepted, or nearly all refused, would
		// prove little.
		Expect(accepted[true]).To(BeNumerically(">", len(emails)/4))
		Expect(accepted[false]).To(BeNumerically(">", len(emails)/4))

		next := make(chan string)
		var wait sync.WaitGroup
		for range workers {
			wait.Go(func() {
				defer GinkgoRecover()
				for email := range next {
					Expect(apiServerAccepts(ctx, email)).To(Equal(opencxAccepts(email)), "%q", email)
				}
			})
		}
		for _, email := range emails {
			next <- email
		}
		close(next)
		wait.Wait()
	})
})

// What the generators draw from: what the pattern names, and what is near it.
const (
	localRunes  = "abzAZ09_'+-."
	domainRunes = "abzAZ09-."
	hostile     = "abzAZ09_'+-...@@ \n\r\t\"\\/,;:éК٣😀\u2028\x00"
)

func draw(random *rand.Rand, from string, n int) string {
	runes := []rune(from)
	text := make([]rune, n)
	for i := range text {
		text[i] = runes[random.IntN(len(runes))]
	}
	return string(text)
}

func randomText(random *rand.Rand) string { return draw(random, hostile, random.IntN(40)) }

// randomAddress is often, but not always, acceptable.
func randomAddress(random *rand.Rand) string {
	return draw(random, localRunes, 1+random.IntN(4)) + "@" + draw(random, domainRunes, 1+random.IntN(4)) + "." + draw(random, "abzAZ", 1+random.IntN(4))
}

// longAddress is acceptable and up to 320 characters long.
func longAddress(random *rand.Rand) string {
	label := draw(random, "abz09-", random.IntN(60))
	labels := strings.Repeat("x"+label+".", 1+random.IntN(3))
	return draw(random, "abz09_'+-", random.IntN(90)) + "a@" + labels + draw(random, "abzAZ", 2+random.IntN(20))
}

// mutated is text with one character changed, added or removed.
func mutated(random *rand.Rand, text string) string {
	runes := []rune(text)
	at := random.IntN(len(runes))
	insert := []rune(draw(random, hostile, random.IntN(2)))
	return string(runes[:at]) + string(insert) + string(runes[at+random.IntN(2):])
}
