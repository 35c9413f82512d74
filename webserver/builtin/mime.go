package builtin

import (
	"path"
	"strings"
)

// contentType is the media type for a file's name. The table is our own, so that all nodes send the same whatever
// is installed there. Text has its character set named, except where the format says it in the file itself (XML,
// SVG) or knows only one (JSON, RFC 8259).
func contentType(name string) string {
	switch ext := strings.ToLower(strings.TrimPrefix(path.Ext(name), ".")); ext {
	// pages
	case "html", "htm", "shtml":
		return "text/html; charset=utf-8"
	case "xhtml", "xht":
		return "application/xhtml+xml"
	case "css":
		return "text/css; charset=utf-8"
	case "js", "mjs", "cjs":
		return "text/javascript; charset=utf-8"
	case "wasm":
		return "application/wasm"
	case "json", "map", "webapp":
		return "application/json"
	case "jsonld":
		return "application/ld+json"
	case "geojson":
		return "application/geo+json"
	case "topojson":
		return "application/json"
	case "webmanifest":
		return "application/manifest+json"
	case "importmap":
		return "application/importmap+json"
	case "appcache", "manifest":
		return "text/cache-manifest"

	// text
	case "txt", "text", "log", "conf", "ini", "asc", "sha256", "diff", "patch":
		return "text/plain; charset=utf-8"
	case "md", "markdown":
		return "text/markdown; charset=utf-8"
	case "csv":
		return "text/csv; charset=utf-8"
	case "tsv":
		return "text/tab-separated-values; charset=utf-8"
	case "ics", "ifb":
		return "text/calendar; charset=utf-8"
	case "vcf", "vcard":
		return "text/vcard; charset=utf-8"
	case "vtt":
		return "text/vtt; charset=utf-8"
	case "srt":
		return "application/x-subrip"
	case "htc":
		return "text/x-component"
	case "yaml", "yml":
		return "application/yaml"
	case "toml":
		return "application/toml"
	case "xml", "xsd", "xsl", "rng":
		return "application/xml"
	case "xslt":
		return "application/xslt+xml"
	case "dtd":
		return "application/xml-dtd"
	case "rss":
		return "application/rss+xml"
	case "atom":
		return "application/atom+xml"
	case "gpx":
		return "application/gpx+xml"
	case "kml":
		return "application/vnd.google-earth.kml+xml"
	case "kmz":
		return "application/vnd.google-earth.kmz"
	case "graphql", "gql":
		return "application/graphql"
	case "wsdl":
		return "application/wsdl+xml"

	// images
	case "svg", "svgz":
		return "image/svg+xml"
	case "png":
		return "image/png"
	case "apng":
		return "image/apng"
	case "jpg", "jpeg", "jpe", "jfif", "pjpeg":
		return "image/jpeg"
	case "gif":
		return "image/gif"
	case "webp":
		return "image/webp"
	case "avif", "avifs":
		return "image/avif"
	case "heic":
		return "image/heic"
	case "heif":
		return "image/heif"
	case "jxl":
		return "image/jxl"
	case "jp2":
		return "image/jp2"
	case "ico", "cur":
		return "image/x-icon"
	case "bmp":
		return "image/bmp"
	case "tif", "tiff":
		return "image/tiff"
	case "dng":
		return "image/x-adobe-dng"
	case "psd":
		return "image/vnd.adobe.photoshop"
	case "ktx2":
		return "image/ktx2"

	// fonts
	case "woff":
		return "font/woff"
	case "woff2":
		return "font/woff2"
	case "ttf":
		return "font/ttf"
	case "otf":
		return "font/otf"
	case "ttc":
		return "font/collection"
	case "eot":
		return "application/vnd.ms-fontobject"
	}
	return mediaType(name)
}

// mediaType is the remainder of the table: sound, video, documents and archives.
func mediaType(name string) string {
	switch ext := strings.ToLower(strings.TrimPrefix(path.Ext(name), ".")); ext {
	case "mp3":
		return "audio/mpeg"
	case "m4a":
		return "audio/mp4"
	case "aac":
		return "audio/aac"
	case "ogg", "oga", "opus":
		return "audio/ogg"
	case "flac":
		return "audio/flac"
	case "wav":
		return "audio/wav"
	case "weba":
		return "audio/webm"
	case "mid", "midi", "kar":
		return "audio/midi"
	case "aif", "aiff":
		return "audio/aiff"
	case "wma":
		return "audio/x-ms-wma"
	case "ra":
		return "audio/x-realaudio"

	case "mp4", "m4v":
		return "video/mp4"
	case "webm":
		return "video/webm"
	case "ogv":
		return "video/ogg"
	case "mov", "qt":
		return "video/quicktime"
	case "mpeg", "mpg":
		return "video/mpeg"
	case "mkv":
		return "video/x-matroska"
	case "avi":
		return "video/x-msvideo"
	case "wmv":
		return "video/x-ms-wmv"
	case "flv":
		return "video/x-flv"
	case "asf", "asx":
		return "video/x-ms-asf"
	case "ts", "m2ts":
		return "video/mp2t"
	case "3gp", "3gpp":
		return "video/3gpp"
	case "m3u8":
		return "application/vnd.apple.mpegurl"
	case "mpd":
		return "application/dash+xml"

	case "pdf":
		return "application/pdf"
	case "ps", "eps", "ai":
		return "application/postscript"
	case "rtf":
		return "application/rtf"
	case "epub":
		return "application/epub+zip"
	case "doc":
		return "application/msword"
	case "xls":
		return "application/vnd.ms-excel"
	case "ppt":
		return "application/vnd.ms-powerpoint"
	case "docx":
		return "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
	case "xlsx":
		return "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
	case "pptx":
		return "application/vnd.openxmlformats-officedocument.presentationml.presentation"
	case "odt":
		return "application/vnd.oasis.opendocument.text"
	case "ods":
		return "application/vnd.oasis.opendocument.spreadsheet"
	case "odp":
		return "application/vnd.oasis.opendocument.presentation"
	case "odg":
		return "application/vnd.oasis.opendocument.graphics"

	case "glb":
		return "model/gltf-binary"
	case "gltf":
		return "model/gltf+json"
	case "stl":
		return "model/stl"
	case "obj":
		return "model/obj"
	case "usdz":
		return "model/vnd.usdz+zip"

	case "zip":
		return "application/zip"
	case "gz", "tgz":
		return "application/gzip"
	case "bz2":
		return "application/x-bzip2"
	case "xz":
		return "application/x-xz"
	case "zst":
		return "application/zstd"
	case "br":
		return "application/x-brotli"
	case "tar":
		return "application/x-tar"
	case "7z":
		return "application/x-7z-compressed"
	case "rar":
		return "application/vnd.rar"
	case "jar", "war", "ear":
		return "application/java-archive"
	case "apk":
		return "application/vnd.android.package-archive"
	case "deb":
		return "application/vnd.debian.binary-package"
	case "rpm":
		return "application/x-rpm"
	case "swf":
		return "application/x-shockwave-flash"
	case "sqlite", "sqlite3":
		return "application/vnd.sqlite3"
	case "torrent":
		return "application/x-bittorrent"
	case "crt", "pem", "der":
		return "application/x-x509-ca-cert"
	case "crl":
		return "application/pkix-crl"
	case "p7c", "p7m":
		return "application/pkcs7-mime"
	case "xpi":
		return "application/x-xpinstall"
	case "ipa", "exe", "dll", "bin", "img", "iso", "dmg", "msi", "msp", "msm":
		return "application/octet-stream"
	}
	return "application/octet-stream"
}
