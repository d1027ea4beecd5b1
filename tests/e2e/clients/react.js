// imagekitio-react: up to 2 with an endpoint, from 3 with an authenticator. Its input is the component itself.
import {createElement} from "react";
import {createRoot} from "react-dom/client";
import {IKContext, IKUpload} from "imagekitio-react";
import {client, refused, stored, threeValues} from "./page.js";

client((settings, place) => {
  const {publicKey, urlEndpoint, fileName} = settings;
  const asks = settings.sdkAsks
    ? {authenticationEndpoint: settings.endpoint}
    : {authenticator: () => threeValues(settings)};
  const mounted = place.appendChild(document.createElement("div"));
  createRoot(mounted).render(
    createElement(
      IKContext,
      {publicKey, urlEndpoint, ...asks},
      createElement(IKUpload, {fileName, tags: ["summer", "dress"], onSuccess: stored, onError: refused}),
    ),
  );
});
