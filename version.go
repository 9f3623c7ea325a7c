package main

import "runtime/debug"

// version is that of this build. A release stamps it; any other build has what Go knows
// of it, which is a tag or a commit, or nothing.
var version string

func init() {
	if version == "" {
		info, _ := debug.ReadBuildInfo()
		version = versionOf(info)
	}
}

// versionOf reads a version off what Go wrote into the binary; info may be nil.
func versionOf(info *debug.BuildInfo) string {
	if info == nil || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "dev"
	}
	return info.Main.Version
}
