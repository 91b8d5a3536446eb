package shared

import "runtime/debug"

// Version is the version of a module that this program was built with.
func Version(module string) string {
	if info, known := debug.ReadBuildInfo(); known {
		for _, used := range info.Deps {
			if used.Path == module {
				return used.Version
			}
		}
	}
	return "unknown"
}
