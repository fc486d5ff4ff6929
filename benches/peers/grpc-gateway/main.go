// A grpc-gateway as its documentation builds one, for `cargo xtask bench edge` to measure beside.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"

	"edge/edgev1"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func main() {
	upstream := flag.String("upstream", "127.0.0.1:9090", "the gRPC server")
	listen := flag.String("listen", "127.0.0.1:8080", "where to serve")
	flag.Parse()
	mux := runtime.NewServeMux()
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	err := edgev1.RegisterEdgeServiceHandlerFromEndpoint(context.Background(), mux, *upstream, options)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(*listen, mux))
}
