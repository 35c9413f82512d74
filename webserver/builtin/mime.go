package builtin

import "statiko/webserver/media"

// mediaTypes is never changed.
var mediaTypes = media.New()

// contentType is the media type for a file's name.
func contentType(name string) string { return mediaTypes.Of(name) }
