// Package elasticsearch stands in for Elasticsearch's client, whose 850 packages take longer to compile than all the
// rest of Jaeger: Istio's addon keeps traces in Badger, and nothing here is ever called.
package elasticsearch

import (
	"errors"
	"net/http"

	"github.com/elastic/go-elasticsearch/v9/esapi"
)

// Config has what Jaeger sets.
type Config struct {
	Addresses            []string
	Username             string
	Password             string
	DiscoverNodesOnStart bool
	CompressRequestBody  bool
	Header               http.Header
	Transport            http.RoundTripper
}

// Client has what Jaeger asks for.
type Client struct {
	Indices *esapi.Indices
}

// NewClient refuses.
func NewClient(Config) (*Client, error) {
	return nil, errors.New("this Jaeger was built without a client for Elasticsearch")
}
