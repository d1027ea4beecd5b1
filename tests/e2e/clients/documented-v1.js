// No SDK: the documented fetch, with three headers, and a form.
import {authenticate, client, fileInput, refused, stored} from "./page.js";

client((settings, place) => {
  fileInput(place, async (file) => {
    try {
      const {token, signature, expire} = await authenticate(settings);
      const form = new FormData();
      const fields = {file, fileName: settings.fileName, publicKey: settings.publicKey, signature, expire, token};
      for (const [name, value] of Object.entries({...fields, tags: "summer,dress"})) form.append(name, value);
      const response = await fetch("https://upload.imagekit.io/api/v1/files/upload", {method: "POST", body: form});
      const said = await response.json();
      if (response.ok) stored(said);
      else refused({...said, status: response.status});
    } catch (error) {
      refused(error);
    }
  });
});
