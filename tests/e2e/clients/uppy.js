// imagekit-uppy-plugin 1: asks an endpoint, and without `metaFields` sends all that Uppy knows of a file.
import Uppy from "@uppy/core";
import ImageKit from "imagekit-uppy-plugin";
import {client, fileInput, refused, stored} from "./page.js";

client((settings, place) => {
  const uppy = Uppy({autoProceed: true, meta: {tags: ["summer", "dress"]}});
  uppy.use(ImageKit, {
    id: "ImageKit",
    authenticationEndpoint: settings.endpoint,
    publicKey: settings.publicKey,
  });
  uppy.on("upload-success", (_, response) => stored(response.body));
  uppy.on("upload-error", (_, error) => refused(error));
  fileInput(place, (file) => uppy.addFile({name: settings.fileName, type: file.type, data: file}));
});
