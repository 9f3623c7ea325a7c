package controller

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// declared are the names that the code base declares: functions as name and, when they
// are methods, as type.name, otherwise as package.name; and all other names.
type declared struct{ functions, names map[string]bool }

func (d declared) function(owner string, f *ast.FuncDecl) {
	if f.Recv != nil {
		receiver := f.Recv.List[0].Type
		if pointer, is := receiver.(*ast.StarExpr); is {
			receiver = pointer.X
		}
		if named, is := receiver.(*ast.Ident); is {
			owner = named.Name
		}
	}
	d.functions[f.Name.Name], d.functions[owner+"."+f.Name.Name] = true, true
}

// others notes types, fields with their names in JSON, constants with their texts, and
// variables.
func (d declared) others(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.TypeSpec:
		d.names[n.Name.Name] = true
	case *ast.ValueSpec:
		for _, name := range n.Names {
			d.names[name.Name] = true
		}
		for _, value := range n.Values {
			if text, is := value.(*ast.BasicLit); is && text.Kind == token.STRING {
				d.names[strings.Trim(text.Value, "`\"")] = true
			}
		}
	case *ast.Field:
		for _, name := range n.Names {
			d.names[name.Name] = true
		}
		if n.Tag != nil {
			_, tag, _ := strings.Cut(n.Tag.Value, `json:"`)
			name, _, _ := strings.Cut(tag, ",")
			d.names[name] = true
		}
	}
	return true
}

func declarations(t *testing.T, root string) declared {
	t.Helper()
	d := declared{functions: map[string]bool{}, names: map[string]bool{}}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		d.names[file.Name.Name] = true
		for _, declaration := range file.Decls {
			if f, is := declaration.(*ast.FuncDecl); is {
				d.function(file.Name.Name, f)
			}
		}
		ast.Inspect(file, d.others)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var (
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	identifier = regexp.MustCompile(`^[A-Za-z]\w*(\.[A-Za-z]\w*)?(\(\))?$`)
	sourceFile = regexp.MustCompile(`^(api|internal)(/[\w.]+)+$`)
)

func TestTheArchitecturePageNamesWhatExists(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := declarations(t, root)
	functions := 0
	for number, line := range strings.Split(string(page), "\n") {
		for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
			written, at := span[1], "docs/architecture.md:"+strconv.Itoa(number+1)
			name, isFunction := strings.CutSuffix(written, "()")
			switch {
			case sourceFile.MatchString(written):
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(written))); err != nil {
					t.Errorf("%s: %s", at, err)
				}
			case !identifier.MatchString(written):
				t.Errorf("%s: %s is neither a name, nor a function with its parentheses, nor a path", at, written)
			case isFunction:
				functions++
				if !code.functions[name] {
					t.Errorf("%s: there is no function %s", at, name)
				}
			case !code.names[name]:
				t.Errorf("%s: nothing is called %s", at, name)
			}
		}
	}
	if functions < 40 {
		t.Errorf("docs/architecture.md names %d functions, want 40 or more", functions)
	}
}
