package bundle

// A staged bundle is the folder <stager's folder>/<SHA-256 of the archive, hexadecimal>, with these parts.
const (
	// FilesDir holds the bundle's files as they are.
	FilesDir = "files"
	// GzipDir holds the gzip form of those files that gain from it, under the same relative names.
	GzipDir = "gzip"
	// BrotliDir holds the Brotli form of those files that gain from it, under the same relative names.
	BrotliDir = "br"
	// infoFile describes the staged bundle. It is written last before the folder gets its name.
	infoFile = "bundle.json"
)
