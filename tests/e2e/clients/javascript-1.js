// imagekit-javascript 1: fetches the credential itself, from an endpoint that it cannot send a header to.
import ImageKit from "imagekit-javascript";
import {client, done, fileInput} from "./page.js";

client((settings, place) => {
  const imagekit = new ImageKit({
    publicKey: settings.publicKey,
    urlEndpoint: settings.urlEndpoint,
    authenticationEndpoint: settings.endpoint,
  });
  fileInput(place, (file) => imagekit.upload({file, fileName: settings.fileName, tags: ["summer", "dress"]}, done));
});
