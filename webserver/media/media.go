// Package media is the table of media types that all web servers of this program send: [Type]. It is our own, so that
// all nodes send the same whatever is installed there.
package media

import (
	"path"
	"strings"
)

// Default is the type of a file whose extension is not in the table.
const Default = "application/octet-stream"

// Row is one media type with the extensions that have it, in lower case.
type Row struct {
	Type       string
	Extensions []string
}

// Table returns all rows. No extension stands in it twice. Text has its character set named, except where the format
// says it in the file itself (XML, SVG) or knows only one (JSON, RFC 8259).
func Table() []Row {
	rows := make([]Row, len(table))
	for i, r := range table {
		rows[i] = Row{r[0], strings.Fields(r[1])}
	}
	return rows
}

// Types answers for names of files. It is safe for concurrent use.
type Types map[string]string

// New returns the table as a map from extensions to types.
func New() Types {
	t := Types{}
	for _, r := range Table() {
		for _, ext := range r.Extensions {
			t[ext] = r.Type
		}
	}
	return t
}

// Of returns the type of a file by its name. Letter case does not matter.
func (t Types) Of(name string) string {
	if typ, ok := t[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]; ok {
		return typ
	}
	return Default
}

// table has a type and its extensions in each row.
var table = [...][2]string{
	// pages
	{"text/html; charset=utf-8", "html htm shtml"},
	{"application/xhtml+xml", "xhtml xht"},
	{"text/css; charset=utf-8", "css"},
	{"text/javascript; charset=utf-8", "js mjs cjs"},
	{"application/wasm", "wasm"},
	{"application/json", "json map webapp"},
	{"application/ld+json", "jsonld"},
	{"application/geo+json", "geojson"},
	{"application/json", "topojson"},
	{"application/manifest+json", "webmanifest"},
	{"application/importmap+json", "importmap"},
	{"text/cache-manifest", "appcache manifest"},
	// text
	{"text/plain; charset=utf-8", "txt text log conf ini asc sha256 diff patch"},
	{"text/markdown; charset=utf-8", "md markdown"},
	{"text/csv; charset=utf-8", "csv"},
	{"text/tab-separated-values; charset=utf-8", "tsv"},
	{"text/calendar; charset=utf-8", "ics ifb"},
	{"text/vcard; charset=utf-8", "vcf vcard"},
	{"text/vtt; charset=utf-8", "vtt"},
	{"application/x-subrip", "srt"},
	{"text/x-component", "htc"},
	{"application/yaml", "yaml yml"},
	{"application/toml", "toml"},
	{"application/xml", "xml xsd xsl rng"},
	{"application/xslt+xml", "xslt"},
	{"application/xml-dtd", "dtd"},
	{"application/rss+xml", "rss"},
	{"application/atom+xml", "atom"},
	{"application/gpx+xml", "gpx"},
	{"application/vnd.google-earth.kml+xml", "kml"},
	{"application/vnd.google-earth.kmz", "kmz"},
	{"application/graphql", "graphql gql"},
	{"application/wsdl+xml", "wsdl"},
	// images
	{"image/svg+xml", "svg svgz"},
	{"image/png", "png"},
	{"image/apng", "apng"},
	{"image/jpeg", "jpg jpeg jpe jfif pjpeg"},
	{"image/gif", "gif"},
	{"image/webp", "webp"},
	{"image/avif", "avif avifs"},
	{"image/heic", "heic"},
	{"image/heif", "heif"},
	{"image/jxl", "jxl"},
	{"image/jp2", "jp2"},
	{"image/x-icon", "ico cur"},
	{"image/bmp", "bmp"},
	{"image/tiff", "tif tiff"},
	{"image/x-adobe-dng", "dng"},
	{"image/vnd.adobe.photoshop", "psd"},
	{"image/ktx2", "ktx2"},
	// fonts
	{"font/woff", "woff"},
	{"font/woff2", "woff2"},
	{"font/ttf", "ttf"},
	{"font/otf", "otf"},
	{"font/collection", "ttc"},
	{"application/vnd.ms-fontobject", "eot"},
	{"audio/mpeg", "mp3"},
	{"audio/mp4", "m4a"},
	{"audio/aac", "aac"},
	{"audio/ogg", "ogg oga opus"},
	{"audio/flac", "flac"},
	{"audio/wav", "wav"},
	{"audio/webm", "weba"},
	{"audio/midi", "mid midi kar"},
	{"audio/aiff", "aif aiff"},
	{"audio/x-ms-wma", "wma"},
	{"audio/x-realaudio", "ra"},
	{"video/mp4", "mp4 m4v"},
	{"video/webm", "webm"},
	{"video/ogg", "ogv"},
	{"video/quicktime", "mov qt"},
	{"video/mpeg", "mpeg mpg"},
	{"video/x-matroska", "mkv"},
	{"video/x-msvideo", "avi"},
	{"video/x-ms-wmv", "wmv"},
	{"video/x-flv", "flv"},
	{"video/x-ms-asf", "asf asx"},
	{"video/mp2t", "ts m2ts"},
	{"video/3gpp", "3gp 3gpp"},
	{"application/vnd.apple.mpegurl", "m3u8"},
	{"application/dash+xml", "mpd"},
	{"application/pdf", "pdf"},
	{"application/postscript", "ps eps ai"},
	{"application/rtf", "rtf"},
	{"application/epub+zip", "epub"},
	{"application/msword", "doc"},
	{"application/vnd.ms-excel", "xls"},
	{"application/vnd.ms-powerpoint", "ppt"},
	{"application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"},
	{"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"},
	{"application/vnd.openxmlformats-officedocument.presentationml.presentation", "pptx"},
	{"application/vnd.oasis.opendocument.text", "odt"},
	{"application/vnd.oasis.opendocument.spreadsheet", "ods"},
	{"application/vnd.oasis.opendocument.presentation", "odp"},
	{"application/vnd.oasis.opendocument.graphics", "odg"},
	{"model/gltf-binary", "glb"},
	{"model/gltf+json", "gltf"},
	{"model/stl", "stl"},
	{"model/obj", "obj"},
	{"model/vnd.usdz+zip", "usdz"},
	{"application/zip", "zip"},
	{"application/gzip", "gz tgz"},
	{"application/x-bzip2", "bz2"},
	{"application/x-xz", "xz"},
	{"application/zstd", "zst"},
	{"application/x-brotli", "br"},
	{"application/x-tar", "tar"},
	{"application/x-7z-compressed", "7z"},
	{"application/vnd.rar", "rar"},
	{"application/java-archive", "jar war ear"},
	{"application/vnd.android.package-archive", "apk"},
	{"application/vnd.debian.binary-package", "deb"},
	{"application/x-rpm", "rpm"},
	{"application/x-shockwave-flash", "swf"},
	{"application/vnd.sqlite3", "sqlite sqlite3"},
	{"application/x-bittorrent", "torrent"},
	{"application/x-x509-ca-cert", "crt pem der"},
	{"application/pkix-crl", "crl"},
	{"application/pkcs7-mime", "p7c p7m"},
	{"application/x-xpinstall", "xpi"},
	{"application/octet-stream", "ipa exe dll bin img iso dmg msi msp msm"},
}
