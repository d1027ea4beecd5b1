// imagekitio-vue 3: an authenticator.
import {createApp, h} from "vue";
import {IKContext, IKUpload} from "imagekitio-vue";
import {client, refused, stored, threeValues} from "./page.js";

client((settings, place) => {
  const {publicKey, urlEndpoint, fileName} = settings;
  const context = {publicKey, urlEndpoint, authenticator: () => threeValues(settings)};
  const upload = {fileName, tags: ["summer", "dress"], onSuccess: stored, onError: refused};
  const mounted = place.appendChild(document.createElement("div"));
  createApp({render: () => h(IKContext, context, () => h(IKUpload, upload))}).mount(mounted);
});
