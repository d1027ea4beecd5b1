// imagekitio-vue 1, in Vue 2: an endpoint, and a component that is the input.
import Vue from "vue";
import {IKUpload} from "imagekitio-vue";
import {client, refused, stored} from "./page.js";

Vue.config.productionTip = false;

client((settings, place) => {
  const {publicKey, urlEndpoint, fileName} = settings;
  const props = {
    publicKey,
    urlEndpoint,
    authenticationEndpoint: settings.endpoint,
    fileName,
    tags: ["summer", "dress"],
    onSuccess: stored,
    onError: refused,
  };
  const mounted = place.appendChild(document.createElement("div"));
  new Vue({render: (create) => create(IKUpload, {props})}).$mount(mounted);
});
